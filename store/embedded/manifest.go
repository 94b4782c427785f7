package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The manifest is a log of records in blocks of 32 KiB; each chunk of a record starts with checksum (4 bytes), length (2)
// and type (1): Pebble's record package, legacy format.
const chunkHeader = 7

// checkManifest refuses a manifest that is damaged before its end. Pebble takes a bad record for a torn tail, forgets what
// follows it, and removes the tables that it then does not know. A torn tail has nothing valid behind it; damage to the
// very last record cannot be told from it.
func checkManifest(fs vfs.FS, name string) error {
	f, err := fs.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	r := record.NewReader(bytes.NewReader(all), 0)
	good := int64(0) // where the last record that was read ends
	for {
		next, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, next)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			break
		}
		good = r.Offset()
	}
	for at := good + 1; at+chunkHeader <= int64(len(all)); at++ {
		if validChunk(all[at:]) {
			return fmt.Errorf("%s is damaged after byte %d", name, good)
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// validChunk says whether b starts with the first chunk of a record (full: 1, first: 2) and its checksum holds. Later
// chunks do not count: they may belong to the torn record.
func validChunk(b []byte) bool {
	length := int(binary.LittleEndian.Uint16(b[4:]))
	if kind := b[6]; kind < 1 || kind > 2 || length == 0 || chunkHeader+length > len(b) {
		return false
	}
	sum := crc32.Checksum(b[6:chunkHeader+length], castagnoli)
	return (sum>>15|sum<<17)+0xa282ead8 == binary.LittleEndian.Uint32(b)
}
