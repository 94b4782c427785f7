// Package observe is what operators see: logs, traces and metrics, with one list of all metric names. Its values are made
// in cmd and handed down; other packages declare the few methods that they use.
//
// Nothing here carries content: no message text, no name and no id of a person leaves the process through a log line, a
// span or a metric. Logs and spans show ids as salted hashes that last as long as the process.
package observe

// Telemetry says what is logged and traced, in the words of the configuration.
type Telemetry struct {
	LogLevel  string // debug, info, warn, error; anything else is info
	LogFormat string // text, json; anything else is text
	Traces    string // off, log, or file:PATH, where {region} stands for the region's name
}
