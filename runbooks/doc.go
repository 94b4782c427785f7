// Package runbooks holds what a person does when something breaks, one Markdown file per case. Its test runs every command of
// them against a live deployment.
package runbooks
