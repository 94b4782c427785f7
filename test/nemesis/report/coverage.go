package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Row is one promise, and what came of it in each scenario.
type Row struct {
	ID       string
	Verdicts []string // held, broken, or – where it is not checked
}

// Rows says which promises each scenario checks, in the order of the first scenario that has them.
func (r *Report) Rows() []Row {
	var ids []string
	for _, s := range r.Scenarios {
		for _, c := range s.Checks {
			if !slices.Contains(ids, c.ID) {
				ids = append(ids, c.ID)
			}
		}
	}
	var rows []Row
	for _, id := range ids {
		row := Row{ID: id}
		for _, s := range r.Scenarios {
			row.Verdicts = append(row.Verdicts, s.verdict(id))
		}
		rows = append(rows, row)
	}
	return rows
}

func (s *Scenario) verdict(id string) string {
	for _, c := range s.Checks {
		switch {
		case c.ID != id:
		case c.Broken > 0:
			return "broken"
		case c.Elsewhere == "":
			return "held"
		}
	}
	return "–"
}

// Unchecked lists the promises that no scenario checks.
func (r *Report) Unchecked() []string {
	var all []string
	for _, row := range r.Rows() {
		if !slices.ContainsFunc(row.Verdicts, func(v string) bool { return v != "–" }) {
			all = append(all, row.ID)
		}
	}
	return all
}

// coverage writes the terminal's form of Rows, a scenario a line.
func (r *Report) coverage(w io.Writer) {
	rows := r.Rows()
	fmt.Fprintf(w, "\n  %-22s", "CHECKED IN")
	for _, row := range rows {
		fmt.Fprintf(w, " %6s", row.ID)
	}
	fmt.Fprintln(w)
	for i, s := range r.Scenarios {
		fmt.Fprintf(w, "  %-22s", s.Name)
		for _, row := range rows {
			fmt.Fprintf(w, " %6s", row.Verdicts[i])
		}
		fmt.Fprintln(w)
	}
	if none := r.Unchecked(); len(none) > 0 {
		fmt.Fprintf(w, "  checked in none of these scenarios: %s\n", strings.Join(none, ", "))
	}
}
