package auth

import (
	"context"
	"encoding/binary"

	"meridian/chat"
	"meridian/residency"
)

// The methods of the directory's calls between regions.
const (
	// MethodReserve: a claim; answers the claim that stands.
	MethodReserve = "claim.reserve"
	// MethodRelease: a claim; removes it if it is pending still; answers nothing.
	MethodRelease = "claim.release"
	// MethodLookup: a claim key; answers the claim, or nothing.
	MethodLookup = "claim.lookup"
)

// handle answers a call of region from. A region claims and releases for zones that it serves only. Errors: CodeDenied,
// CodeInvalid for what cannot be read, CodeNotFound for a method that is not the directory's, and the store's.
func (d *Directory) handle(ctx context.Context, from chat.Region, method string, payload []byte) ([]byte, error) {
	const op = "auth.Directory.handle"
	switch method {
	case MethodReserve:
		c, err := decodeClaim(payload)
		if err != nil {
			return nil, err
		}
		if err := residency.Speak(d.topology, c.Zone, from).Err(op); err != nil {
			return nil, err
		}
		stands, err := d.reserve(ctx, c)
		if err != nil {
			return nil, err
		}
		return encodeClaim(stands), nil
	case MethodRelease:
		c, err := decodeClaim(payload)
		if err != nil {
			return nil, err
		}
		// The zone that counts is that of the entry here: whoever knows an attempt's id might name another.
		stands, found, err := d.store.Claim(ctx, c.Key)
		if err != nil || !found {
			return nil, err
		}
		if err := residency.Speak(d.topology, stands.Zone, from).Err(op); err != nil {
			return nil, err
		}
		return nil, d.store.Release(ctx, c.Key, c.Attempt)
	case MethodLookup:
		if len(payload) != len(chat.ClaimKey{}) {
			return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "not a claim key"}
		}
		c, found, err := d.store.Claim(ctx, chat.ClaimKey(payload))
		if err != nil || !found {
			return nil, err
		}
		return encodeClaim(c), nil
	}
	return nil, &chat.Error{Code: chat.CodeNotFound, Op: op, Message: "no such method: " + method}
}

// A claim on the wire: a version byte, the fixed fields, a byte for Pending, then the zone's name to the end.
const (
	claimFormat     = 1
	claimFixedBytes = 1 + 32 + 16 + 2 + 16 + 8 + 1
	maxZoneBytes    = 32
)

func encodeClaim(c chat.Claim) []byte {
	b := make([]byte, 0, claimFixedBytes+len(c.Zone))
	b = append(b, claimFormat)
	b = append(b, c.Key[:]...)
	b = append(b, c.Blinded[:]...)
	b = binary.BigEndian.AppendUint16(b, c.Bucket)
	b = append(b, c.Attempt[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Version))
	if c.Pending {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return append(b, c.Zone...)
}

func decodeClaim(b []byte) (chat.Claim, error) {
	if len(b) <= claimFixedBytes || len(b) > claimFixedBytes+maxZoneBytes || b[0] != claimFormat || b[claimFixedBytes-1] > 1 {
		return chat.Claim{}, &chat.Error{Code: chat.CodeInvalid, Op: "auth.decodeClaim", Message: "not a claim"}
	}
	return chat.Claim{
		Key: chat.ClaimKey(b[1:33]), Blinded: [16]byte(b[33:49]), Bucket: binary.BigEndian.Uint16(b[49:51]),
		Attempt: chat.UUID(b[51:67]), Version: chat.HLC(binary.BigEndian.Uint64(b[67:75])), Pending: b[75] == 1,
		Zone: chat.Zone(b[claimFixedBytes:]),
	}, nil
}
