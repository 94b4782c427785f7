// Package groups keeps what this node has read of groups at hand (who is in them, and since when), and makes and changes them
// for the people whose home zone this region is in.
package groups
