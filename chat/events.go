package chat

import "context"

// EventType says what happened. Types go to other systems: add, never rename; docs/protocol.md lists each.
type EventType string

// The types of event.
const (
	EventMessageSent      EventType = "message.sent"
	EventMessageEdited    EventType = "message.edited"
	EventMessageDeleted   EventType = "message.deleted"
	EventReactionSet      EventType = "reaction.set"
	EventReactionRemoved  EventType = "reaction.removed"
	EventGroupCreated     EventType = "group.created"
	EventGroupRenamed     EventType = "group.renamed"
	EventMemberJoined     EventType = "member.joined" // or got another role
	EventMemberLeft       EventType = "member.left"
	EventContactRequested EventType = "contact.requested" // or accepted
	EventContactRemoved   EventType = "contact.removed"
	EventUserCreated      EventType = "user.created"
	EventUserChanged      EventType = "user.changed"
	EventSessionOpened    EventType = "session.opened"
	EventSessionEnded     EventType = "session.ended"
)

// Event is one thing that happened, for other systems of the region. It holds ids and zones only: no text, no name.
type Event struct {
	// ID names the event: the op's id, and a number where one op is several events. It is the same whenever the event comes again.
	ID   string
	Type EventType
	Time HLC // of the op
	// Stream and Seq are where the op stands in an op log of this region: events of one stream come in that order.
	Stream StreamID
	Seq    uint64
	Actor  UserID // who did it
	Zone   Zone   // home of Actor
	// Conversation, Message and User (whom it is about) are zero where there is none; Role is for members.
	Conversation ConversationID
	Message      MessageID
	User         UserID
	Role         Role
}

// MaxEventsAtOnce bounds one Publish.
const MaxEventsAtOnce = 1024

// Events gives events to a broker. Every implementation passes storetest.RunEvents. All methods are safe for concurrent use.
type Events interface {
	// Publish gives at most MaxEventsAtOnce events to the broker, in this order, and returns when it has confirmed all of them: they
	// are as safe then as the broker keeps anything. After an error any of them may be there; publish all again. Errors:
	// CodeRegionDegraded with RetryAfter when the broker does not confirm before ctx ends or refuses, CodeInvalid for too many.
	Publish(ctx context.Context, events []Event) error
	// Close ends the connection.
	Close() error
}
