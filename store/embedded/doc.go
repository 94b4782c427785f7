// Package embedded keeps a region node's data in one Pebble database per directory.
//
// Writing. Commit encodes a batch in the caller's goroutine and queues it. One committer goroutine takes everything that
// waits, writes it as one Pebble batch with one fsync, publishes a snapshot, and only then reports each batch done, in the
// order of the queue. Conditional writes (Reserve, Release, InsertKey) are decided in the committer, so they need no lock.
//
// Reading. Pebble shows a batch before its fsync; readers here use the snapshot taken after the last fsync, so that nothing
// is read that a power cut could take back.
//
// Failing. Pebble ends the process when it cannot write its log or manifest. The gate, a layer over the file system, keeps
// such an error from Pebble: from that moment on nothing reaches the files, writes are refused with a typed error, and
// reads go on from what is on disk. Abandon uses the same gate. See gate.go.
package embedded
