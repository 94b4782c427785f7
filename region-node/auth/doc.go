// Package auth knows who people are: usernames and their directory, passwords, tokens, log-ins. Tokens are verified in any
// region without calling home; accounts and sessions are read and changed only in a region of the person's home zone.
package auth
