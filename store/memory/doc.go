// Package memory keeps in one process what the nodes of a region share beside the store: cache, bus, limits, jobs, presence.
// It is what a region of one node uses, and what a node falls back to while Redis is away.
package memory
