// Package pb is what regions say to each other, generated from backbone.proto, which documents it field by field.
package pb

//go:generate ./generate.sh
