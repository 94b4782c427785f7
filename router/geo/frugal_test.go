package geo

import (
	"runtime/debug"
	"testing"

	"meridian/config"
)

// Who compiles files lowers how much garbage may lie about, and who is done last puts it back as it was, in whatever order they end;
// without files nothing changes.
func TestFrugal(t *testing.T) {
	setting := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	before := setting()
	files := config.Router{GeoFiles: []string{"city.mmdb"}}
	first, second, none := Frugal(files), Frugal(files), Frugal(config.Router{})
	for i, done := range []func(){none, first, second} {
		if got := setting(); got != frugalGCPercent {
			t.Errorf("step %d: %d", i, got)
		}
		done()
	}
	if got := setting(); got != before {
		t.Errorf("afterwards %d, not %d", got, before)
	}
}
