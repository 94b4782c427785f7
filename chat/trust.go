package chat

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Untrusted says, in words for an operator, why a server is not trusted; "" when err is about something else.
func Untrusted(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		plain     tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return "its certificate is signed by nobody that ca_file names"
	case errors.As(err, &host):
		return "its certificate is for another host than address, or server_name, says"
	case errors.As(err, &invalid):
		return "its certificate is not valid"
	case errors.As(err, &plain):
		return "it does not speak TLS"
	}
	return ""
}
