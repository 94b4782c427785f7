// Package events tells other systems of a region what happens in it: message.sent and its like, in Redis Streams or in RabbitMQ.
//
// The op log is the source. A Pump reads the op logs that its node is answerable for, from a durable position on, publishes, waits for the
// broker's word, and moves the position. A broker that is down blocks nobody: what happens waits in the op log. An event comes at least
// once; those of one op log come in its order, repeats apart. Events hold ids and zones only, so the broker is a place for nothing
// that is sealed elsewhere.
package events
