// Package composed makes one chat.Store of a region's main store and an account store: accounts and sessions lie in the second,
// everything else in the first.
//
// Writing. A batch with accounts or sessions is written in three steps: its op-log rows to the main store, accounts and sessions to
// the account store, the rest to the main store. What a crash leaves undone after the first step is applied again from the op
// log. Other batches go to the main store as they are, and never wait.
//
// While the account store does not answer, nothing of this stops: who logs in is refused, since accounts cannot be read; but rows that
// come by ops (a session that another region tells of, a revocation) go to the main store's own tables and are owed to the account
// store. Were they refused instead, the streams of other regions would stand still, and messages with them. Reads merge both, so
// that an owed revocation counts at once when the account store is back; a worker brings it what it is owed.
package composed
