package embedded

import (
	"encoding/binary"
	"time"

	"meridian/chat"
)

// Each table has a tag, the first byte of its keys. Tags are stored: add, never renumber.
//
//	m owner conversation ^ord(id)                     messages, newest first
//	l bucket owner arrival ord(op)                    inbox logs; bucket = arrival in inboxBucket units
//	d bucket sender client conversation hash ord(id)  retries; bucket = the id's time in retryBucket units
//	k owner conversation user kind                    marks
//	c owner conversation                              conversations
//	t owner other side                                contacts
//	x owner other time                                blocks
//	o stream seq                                      op log
//	b stream seq/opBucketOps                          what a stretch of an op log holds, for sweeping
//	s stream                                          largest sequence that was ever swept
//	p stream region                                   positions
//	q stream                                          applied
//	f stream seq                                      dead letters
//	F ord(op) ord(told)                               refusals
//	a user                                            accounts
//	e user session                                    sessions
//	n claim key                                       directory claims
//	z bucket zone claim key                           zones of confirmed claims by bucket
//	w author zone                                     wrapped data keys
//	i name                                            what the store knows of itself
//	g owner conversation ord(target) kind user emoji  changes of messages; an alias or a deletion has ord(op) for emoji
//	h owner conversation                              groups
//	j owner conversation user ord(op)                 membership steps
//	r conversation zone                               zones of groups
//	u stream seq op                                   parked ops
//	v stream                                          lives of this region's nodes: lease, low mark, adopter
//	y stream                                          high-water marks of these lives
const (
	tagMessage      = 'm'
	tagInbox        = 'l'
	tagRetry        = 'd'
	tagMark         = 'k'
	tagConversation = 'c'
	tagContact      = 't'
	tagBlock        = 'x'
	tagLog          = 'o'
	tagLogBucket    = 'b'
	tagSwept        = 's'
	tagPosition     = 'p'
	tagApplied      = 'q'
	tagDeadLetter   = 'f'
	tagRefusal      = 'F'
	tagAccount      = 'a'
	tagSession      = 'e'
	tagClaim        = 'n'
	tagBucketZone   = 'z'
	tagKey          = 'w'
	tagSelf         = 'i'
	tagChange       = 'g'
	tagGroup        = 'h'
	tagMember       = 'j'
	tagGroupZone    = 'r'
	tagParked       = 'u'
	tagLife         = 'v'
	tagHighWater    = 'y'
)

// Widths of the time buckets that expire whole: what is kept outlives its retention by at most this.
const (
	inboxBucket = 24 * time.Hour
	// retryBucket is wide, since a look-up of a send seeks once in every live bucket.
	retryBucket = 15 * 24 * time.Hour
	// opBucketOps is how many sequence numbers of an op log expire together.
	opBucketOps = 4096
)

func bucketOf(t chat.HLC, width time.Duration) uint32 {
	return uint32(uint64(t) / uint64(width.Microseconds()))
}

// bucketStart is the first time in bucket b.
func bucketStart(b uint32, width time.Duration) chat.HLC {
	return chat.HLC(uint64(b) * uint64(width.Microseconds()))
}

func key(tag byte, parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	k := append(make([]byte, 0, n), tag)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

// after gives the smallest key that does not start with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0xff} // no tag is that large
}

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// newest gives ord(id) complemented, so that ascending keys are descending ids.
func newest(id chat.MessageID) []byte {
	o := id.Ord()
	for i := range o {
		o[i] = ^o[i]
	}
	return o[:]
}

func ord(id chat.MessageID) []byte {
	o := id.Ord()
	return o[:]
}

func messagePrefix(owner chat.UserID, conv chat.ConversationID) []byte {
	return key(tagMessage, owner[:], conv[:])
}

func messageKey(owner chat.UserID, conv chat.ConversationID, id chat.MessageID) []byte {
	return key(tagMessage, owner[:], conv[:], newest(id))
}

func inboxKey(owner chat.UserID, arrival chat.HLC, op chat.MessageID) []byte {
	return key(tagInbox, be32(bucketOf(arrival, inboxBucket)), owner[:], be64(uint64(arrival)), ord(op))
}

func retryKey(r *chat.RetryRow) []byte {
	return key(tagRetry, be32(bucketOf(r.ID.Time(), retryBucket)), r.Sender[:], r.Client[:], r.Conversation[:], r.BodyHash[:], ord(r.ID))
}

// appendName appends a region, node or zone name so that no name is the prefix of another.
func appendName(k []byte, name string) []byte {
	return append(append(k, byte(len(name))), name...)
}

func streamKey(tag byte, s chat.StreamID) []byte {
	k := make([]byte, 0, 1+2+len(s.Region)+len(s.Node)+16)
	k = appendName(append(k, tag), string(s.Region))
	k = appendName(k, string(s.Node))
	return binary.BigEndian.AppendUint64(k, uint64(s.Incarnation))
}

func streamSeqKey(tag byte, s chat.StreamID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(streamKey(tag, s), seq)
}

// parseStream reads the stream that a key names after its tag, and gives what follows it.
func parseStream(k []byte) (s chat.StreamID, rest []byte, ok bool) {
	d := reader{b: k[1:]}
	s.Region = chat.Region(d.name())
	s.Node = chat.NodeID(d.name())
	s.Incarnation = chat.Incarnation(d.u64())
	return s, d.b, !d.bad
}

func positionKey(s chat.StreamID, to chat.Region) []byte {
	return append(streamKey(tagPosition, s), to...)
}

func changeKey(c *chat.ChangeRow) []byte {
	k := key(tagChange, c.Owner[:], c.Conversation[:], ord(c.Target), []byte{byte(c.Kind)}, c.User[:])
	if c.Kind.Each() {
		return append(k, ord(c.Op)...)
	}
	return append(k, c.Emoji...)
}

func parkedKey(op *chat.Op) []byte {
	return append(streamSeqKey(tagParked, op.Stream, op.Seq), op.ID[:]...)
}

func keyKey(author chat.UserID, zone chat.Zone) []byte {
	return append(key(tagKey, author[:]), zone...)
}

func bucketZoneKey(c *chat.Claim) []byte {
	return append(appendName(key(tagBucketZone, be16(c.Bucket)), string(c.Zone)), c.Key[:]...)
}

func selfKey(name string) []byte { return key(tagSelf, []byte(name)) }
