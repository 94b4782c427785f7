package dns

import "reflect"

// Take answers from the names and rules of next from now on, on the sockets of s; no query is lost or answered by half of each. next is
// neither bound nor run. Cookies that were given, and what the rate limit has counted, go on to count. A zone that is signed does not
// become unsigned by it. The error has CodeInvalid, and then nothing has changed.
func (s *Server) Take(next *Server) error {
	old := s.shows.Load()
	for _, apex := range next.apexes {
		if old.signer.Load().signs(apex) && !next.signer.Load().signs(apex) {
			return invalid("router.name_server.dnssec: there is no key for %s, which is signed: to sign it no more, restart without keys", apex)
		}
	}
	next.cookies = old.cookies
	if reflect.DeepEqual(next.opts.Serving.RateLimit, old.opts.Serving.RateLimit) {
		next.limit, next.began = old.limit, old.began
	}
	s.shows.Store(next)
	return nil
}
