package link

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// The fields on the way to a message of a stream. Those are nearly all that the links of a busy edge carry, so they are written and
// read by hand; the generated code reads what is written otherwise.
const (
	fieldFrame         protowire.Number = 1
	fieldStreamData    protowire.Number = 10
	fieldStreamID      protowire.Number = 1
	fieldStreamMessage protowire.Number = 2
)

// encodeStreamData is encodeFrame of a message of a stream; ids are above 0.
func encodeStreamData(id uint64, message []byte) []byte {
	data := protowire.SizeTag(fieldStreamID) + protowire.SizeVarint(id)
	if len(message) > 0 {
		data += protowire.SizeTag(fieldStreamMessage) + protowire.SizeBytes(len(message))
	}
	frame := protowire.SizeTag(fieldStreamData) + protowire.SizeBytes(data)
	b := make([]byte, 0, protowire.SizeTag(fieldFrame)+protowire.SizeBytes(frame))
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldFrame, protowire.BytesType), uint64(frame))
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldStreamData, protowire.BytesType), uint64(data))
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldStreamID, protowire.VarintType), id)
	if len(message) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldStreamMessage, protowire.BytesType), message)
	}
	return b
}

// readStreamData reads a frame that encodeStreamData could have written; ok is false for any other. message is a part of frame.
func readStreamData(frame []byte) (id uint64, message []byte, ok bool) {
	data, rest, ok := cutBytes(frame, fieldStreamData)
	if !ok || len(rest) > 0 {
		return 0, nil, false
	}
	number, kind, n := protowire.ConsumeTag(data)
	if n < 0 || number != fieldStreamID || kind != protowire.VarintType {
		return 0, nil, false
	}
	id, size := protowire.ConsumeVarint(data[n:])
	if size < 0 {
		return 0, nil, false
	}
	if data = data[n+size:]; len(data) == 0 {
		return id, nil, true
	}
	message, rest, ok = cutBytes(data, fieldStreamMessage)
	return id, message, ok && len(rest) == 0
}

// cutBytes gives the content of the field with which b begins, and what follows it; false when b begins otherwise.
func cutBytes(b []byte, field protowire.Number) (content, rest []byte, ok bool) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 || number != field || kind != protowire.BytesType {
		return nil, nil, false
	}
	content, size := protowire.ConsumeBytes(b[n:])
	if size < 0 {
		return nil, nil, false
	}
	return content, b[n+size:], true
}
