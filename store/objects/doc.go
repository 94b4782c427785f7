// Package objects keeps files, on a disk or in an object store that speaks S3: both are chat.Objects.
package objects
