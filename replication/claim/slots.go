package claim

import (
	"bytes"
	"crypto/sha256"

	"meridian/chat"
)

// SlotOwner gives the region that decides claims of key: the one whose hash with the key is largest (rendezvous hashing),
// so that a change of the regions moves the slots of the changed region only.
func SlotOwner(t chat.Topology, key chat.ClaimKey) chat.Region {
	var owner chat.Region
	var largest [sha256.Size]byte
	for _, region := range t.Regions {
		score := sha256.Sum256(append(key[:], region...))
		if owner == "" || bytes.Compare(score[:], largest[:]) > 0 {
			owner, largest = region, score
		}
	}
	return owner
}
