package auth

import (
	"context"
	"encoding/binary"

	"meridian/chat"
	"meridian/replication/claim"
)

// The methods of the directory's calls between regions.
const (
	// MethodReserve: a claim; answers the claim that stands.
	MethodReserve = "claim.reserve"
	// MethodRelease: a claim; removes it if it is pending still; answers nothing.
	MethodRelease = "claim.release"
	// MethodLookup: a claim key; answers the claim, or nothing.
	MethodLookup = "claim.lookup"
	// MethodAlive: a claim; answers a claim if its attempt may be confirmed yet, or its name is; else nothing.
	MethodAlive = "claim.alive"
	// MethodConfirm: a claim, as the op confirms it; answers the claim that stands.
	MethodConfirm = "claim.confirm"
)

// methods name the questions on the wire.
var methods = map[claim.Kind]string{
	claim.AskReserve: MethodReserve, claim.AskRelease: MethodRelease, claim.AskLookup: MethodLookup,
	claim.AskAlive: MethodAlive, claim.AskConfirm: MethodConfirm,
}

func encodeAsk(a claim.Ask) (method string, payload []byte) {
	if a.Kind == claim.AskLookup {
		return MethodLookup, a.Claim.Key[:]
	}
	return methods[a.Kind], encodeClaim(a.Claim)
}

// decodeAsk reads a question. Errors: CodeInvalid for what cannot be read, CodeNotFound for a method that is not the
// directory's.
func decodeAsk(method string, payload []byte) (claim.Ask, error) {
	const op = "auth.decodeAsk"
	for kind, name := range methods {
		if name != method {
			continue
		}
		if kind != claim.AskLookup {
			c, err := decodeClaim(payload)
			return claim.Ask{Kind: kind, Claim: c}, err
		}
		if len(payload) != len(chat.ClaimKey{}) {
			return claim.Ask{}, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "not a claim key"}
		}
		return claim.Ask{Kind: kind, Claim: chat.Claim{Key: chat.ClaimKey(payload)}}, nil
	}
	return claim.Ask{}, &chat.Error{Code: chat.CodeNotFound, Op: op, Message: "no such method: " + method}
}

// handle answers a call of region from. A region claims, releases and confirms for zones that it serves only. Errors:
// CodeDenied, those of decodeAsk, and the store's.
func (d *Directory) handle(ctx context.Context, from chat.Region, method string, payload []byte) ([]byte, error) {
	a, err := decodeAsk(method, payload)
	if err != nil {
		return nil, err
	}
	r, err := d.request(ctx, from, a)
	if err != nil || !r.Found {
		return nil, err
	}
	return encodeClaim(r.Claim), nil
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
