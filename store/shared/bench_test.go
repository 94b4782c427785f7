package shared_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"meridian/store/storetest"
)

// BenchmarkCommit measures batches of one message over a socket of loopback, with so many under way.
func BenchmarkCommit(b *testing.B) {
	h := newHouse(storetest.DefaultConfig())
	h.dir, h.disk = filepath.Join(b.TempDir(), "store"), vfs.Default
	wantCode(b, h.open(), "")
	defer h.close()
	c, err := h.client("n1")
	wantCode(b, err, "")
	defer c.Close()
	for name, under := range map[string]int{"1": 1, "64": 64, "1024": 1024} {
		b.Run("under way "+name, func(b *testing.B) {
			slots := make(chan struct{}, under)
			var all sync.WaitGroup
			for n := range b.N {
				slots <- struct{}{}
				all.Add(1)
				c.Commit(message(1, n), func(err error) {
					if err != nil {
						b.Error(err)
					}
					<-slots
					all.Done()
				})
			}
			all.Wait()
		})
	}
}
