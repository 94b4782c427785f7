package geo

import (
	"runtime/debug"
	"sync"

	"meridian/config"
)

// frugalGCPercent is how much garbage, of what is in use, may lie about while address files are compiled: they take several times what is
// held afterwards, and a router has an old table in memory meanwhile.
const frugalGCPercent = 25

// frugal counts who compiles now; before is the collector's setting without them.
var frugal struct {
	sync.Mutex
	under  int
	before int
}

// Frugal lets address files that r names be compiled in little memory, which takes a tenth more of the processor, until done is called: that
// gives back to the system what was taken meanwhile. Without files it changes nothing.
func Frugal(r config.Router) (done func()) {
	if len(Files(r)) == 0 {
		return func() {}
	}
	frugal.Lock()
	defer frugal.Unlock()
	if frugal.under++; frugal.under == 1 {
		frugal.before = debug.SetGCPercent(frugalGCPercent)
	}
	return func() {
		frugal.Lock()
		defer frugal.Unlock()
		if frugal.under--; frugal.under == 0 {
			debug.SetGCPercent(frugal.before)
		}
		debug.FreeOSMemory()
	}
}
