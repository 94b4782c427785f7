// Package people is what a person sees of others: contacts, blocks, conversations and their messages. The rules of the view
// stand here once, for requests and sockets alike: what a block hides, what a request is, what counts as unread. Nothing
// that arrived is kept back from the store; the view leaves it out when it is read.
package people
