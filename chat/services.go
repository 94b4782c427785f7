package chat

import (
	"slices"
	"strings"
)

// Service names a part of a region's work with people. The nodes of a region run all of them, or some each, so that each
// scales alone; what a node owes the region (its op log, the relays, the directory's answers) it does whatever it runs.
type Service string

// The services.
const (
	// ServiceAuth signs people up and in: accounts, tokens, sessions, passwords; the costly argon2.
	ServiceAuth Service = "auth"
	// ServiceMessages is REST about people and what they wrote: lists, pages, groups, contacts.
	ServiceMessages Service = "messages"
	// ServiceChat serves sockets.
	ServiceChat Service = "chat"
)

// Services gives all of them.
func Services() []Service { return []Service{ServiceAuth, ServiceMessages, ServiceChat} }

// ServiceNames gives their names for a message: "auth, messages, chat".
func ServiceNames(list []Service) string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// MissingServices gives the services that are in none of the lists.
func MissingServices(lists ...[]Service) []Service {
	return slices.DeleteFunc(Services(), func(s Service) bool {
		return slices.ContainsFunc(lists, func(list []Service) bool { return slices.Contains(list, s) })
	})
}
