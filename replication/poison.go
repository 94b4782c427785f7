package replication

import (
	"fmt"

	"meridian/chat"
)

// A store may refuse an op for good that passed every check before. One write carries many ops, so the batch is halved until
// the culprit stands alone; refused alone buryTries times it is buried like any other that can never be applied, and the stream
// goes on. What a store refuses for now (load, a full disk, no answer) is never counted.

// buryTries is how often the store must refuse an op alone.
const buryTries = 3

// suspect is what is known of an op of a stream that the store refuses.
type suspect struct {
	most  int    // bounds the ops of the next batch; 0: nothing is suspected
	seq   uint64 // refused alone
	tries int
	why   *chat.Error
}

// bound gives how many ops the next batch may take.
func (u *suspect) bound() int {
	if u.most == 0 {
		return applyOps
	}
	return u.most
}

// refused notes that the store did not take a batch.
func (u *suspect) refused(d *draft, err error) {
	if !permanent(chat.CodeOf(err)) {
		return
	}
	u.most = max(1, d.taken/2)
	if d.taken > 1 {
		return
	}
	if u.seq != d.last {
		u.seq, u.tries = d.last, 0
	}
	u.tries++
	u.why = chat.AsError(err)
}

// taken notes that the store took a batch.
func (u *suspect) taken(d *draft) {
	if u.most *= 2; u.most >= applyOps {
		u.most = 0
	}
	if u.seq != 0 && d.last >= u.seq {
		u.seq, u.tries, u.why = 0, 0, nil // the next batches stay small: such ops seldom come alone
	}
}

// condemns says why the op must be buried, nil as long as it need not be.
func (u *suspect) condemns(op *chat.Op) *chat.Error {
	if u.seq != op.Seq || u.tries < buryTries {
		return nil
	}
	return &chat.Error{Code: u.why.Code, Op: "replication.Apply", Message: fmt.Sprintf("the store refuses it: %s", u.why.Message)}
}
