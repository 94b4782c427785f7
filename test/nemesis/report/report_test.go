package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func sample() Report {
	return Report{Began: time.Unix(0, 0).UTC(), Commit: "abc", Machine: "linux", Scenarios: []Scenario{{
		Name: "matrix", What: "three regions", PerSecond: []int{1, 5, 0, 2}, Counts: Counts{Acked: 8},
		Faults: []Fault{
			{Name: "kill <b>", What: "kill -9", Began: Seconds(time.Second), Mended: Seconds(3 * time.Second), Hit: 2, P99: Seconds(1500 * time.Millisecond), Bound: Seconds(5 * time.Second), Recovered: Seconds(time.Second)},
			{Name: "cut", Skipped: "not here"},
		},
		Checks: []Check{{ID: "I1", What: "nothing is lost"}, {ID: "I14", What: "counters", Elsewhere: "they are killed"}},
	}}}
}

// What went well is called so; one broken promise, one fault out of bounds or one problem spoils the whole, in every form.
func TestOneBreachSpoilsTheReport(t *testing.T) {
	for name, spoil := range map[string]func(*Scenario){
		"nothing":   func(*Scenario) {},
		"a promise": func(s *Scenario) { s.Checks[0].Broken = 3 },
		"a fault":   func(s *Scenario) { s.Faults[0].Problem = "p99 is 7s" },
		"a problem": func(s *Scenario) { s.Problems = []string{"a process ended by itself"} },
	} {
		r := sample()
		spoil(&r.Scenarios[0])
		var table strings.Builder
		r.Table(&table)
		page := save(t, &r)
		ok := name == "nothing"
		if r.OK() != ok || strings.Contains(table.String(), "every promise held") != ok || strings.Contains(page, "Every promise held") != ok {
			t.Errorf("%s: OK is %v\n%s", name, r.OK(), table.String())
		}
	}
}

// save writes the report and gives the page.
func save(t *testing.T, r *Report) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	path, err := r.Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "nemesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Scenarios []struct {
			Faults []struct {
				P99 float64 `json:"elsewhere_p99_s"`
			} `json:"faults"`
		} `json:"scenarios"`
	}
	if err := json.Unmarshal(text, &back); err != nil || back.Scenarios[0].Faults[0].P99 != 1.5 {
		t.Errorf("JSON: %v, %+v", err, back)
	}
	return string(page)
}

// The page needs nothing from elsewhere, draws every fault that was done, and lets no name become markup.
func TestPageStandsAlone(t *testing.T) {
	r := sample()
	page := save(t, &r)
	if strings.Contains(page, "<b>") || strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Error("a name became markup, or the page loads something")
	}
	if strings.Count(page, `class="served"`) != 1 || strings.Count(page, `class="limit"`) != 1 || strings.Contains(page, `class="over"`) {
		t.Error("the bar of the one fault that hit somebody, or its bound, is not there once")
	}
	if strings.Count(page, `class="fault"`) != 1 || !strings.Contains(page, "not done: not here") || !strings.Contains(page, "<polyline") {
		t.Error("the time line or the faults are not all there")
	}
}

// A percentile of nothing is 0, of one value that value, and never lies outside.
func TestPercentile(t *testing.T) {
	if Percentile(nil, 0.99) != 0 || Percentile([]time.Duration{7}, 0.5) != 7 || Percentile([]time.Duration{1, 2, 3}, 1) != 3 {
		t.Error("wrong")
	}
}

// The table of promises has a row for each, names what a scenario leaves out, and what all of them leave out.
func TestCoverage(t *testing.T) {
	r := sample()
	r.Scenarios = append(r.Scenarios, Scenario{Name: "other", Checks: []Check{{ID: "I1", Broken: 1}, {ID: "I9"}}})
	want := []Row{{"I1", []string{"held", "broken"}}, {"I14", []string{"–", "–"}}, {"I9", []string{"–", "held"}}}
	if rows := r.Rows(); !reflect.DeepEqual(rows, want) {
		t.Errorf("%v", rows)
	}
	if none := r.Unchecked(); !slices.Equal(none, []string{"I14"}) {
		t.Errorf("unchecked: %v", none)
	}
}
