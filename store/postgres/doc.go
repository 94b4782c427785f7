// Package postgres keeps accounts and sessions in PostgreSQL: a chat.AccountStore.
//
// A row is kept as the bytes that chat.Account.Encoded gives, beside the columns that statements look at. So PostgreSQL decides
// between two rows of one version as every other store does, byte by byte, and a username or device may hold what a text column
// would not take. The views account_list and session_list show the rows to a person.
package postgres
