// Package chat holds the words of the domain: ids, hybrid-logical-clock time, regions and zones, users, messages, ops
// and the one error type; and the contracts that stores and transports fulfil. It imports the standard library only
// and has no goroutine, clock or socket in it.
package chat
