package report

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// Sizes of the bars, in units of the picture.
const (
	barsWidth  = 1000
	barsMargin = 190
	barHeight  = 9
	barsRow    = 26
)

// bars draws for each fault how long the people who were hit were without a server, against the bound of that, and how long
// after its end messages flowed everywhere again.
func bars(s Scenario) template.HTML {
	longest := time.Second
	var done []Fault
	for _, f := range s.Faults {
		if f.Skipped == "" {
			done = append(done, f)
			longest = max(longest, time.Duration(f.P99), time.Duration(f.Bound), time.Duration(f.Recovered))
		}
	}
	if len(done) == 0 {
		return ""
	}
	scale := float64(barsWidth-barsMargin-60) / longest.Seconds()
	width := func(d Seconds) float64 { return time.Duration(d).Seconds() * scale }
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg viewBox="0 0 %d %d" role="img" aria-label="recovery time of each fault">`, barsWidth, barsRow*len(done)+18)
	for i, f := range done {
		y := i * barsRow
		fmt.Fprintf(&svg, `<text x="0" y="%d">%s</text>`, y+14, template.HTMLEscapeString(f.Name))
		if f.Hit > 0 && f.P99 > 0 {
			class := "served"
			if f.Bound > 0 && f.P99 > f.Bound {
				class = "over"
			}
			bar(&svg, class, y+2, width(f.P99), f.P99, "p99 until others served the people who were hit")
		}
		bar(&svg, "heal", y+3+barHeight, width(f.Recovered), f.Recovered, "from the end of the fault until messages flowed everywhere")
		if f.Bound > 0 && f.Hit > 0 {
			x := barsMargin + width(f.Bound)
			fmt.Fprintf(&svg, `<line class="limit" x1="%.1f" y1="%d" x2="%.1f" y2="%d"><title>promised: %s</title></line>`, x, y, x, y+barHeight+4, f.Bound)
		}
	}
	for at := time.Duration(0); at <= longest; at += max(longest/10, time.Second).Round(time.Second) {
		fmt.Fprintf(&svg, `<text class="tick" x="%.1f" y="%d">%.0fs</text>`, barsMargin+at.Seconds()*scale, barsRow*len(done)+12, at.Seconds())
	}
	svg.WriteString("</svg>")
	return template.HTML(svg.String()) // numbers, and text that was escaped above
}

func bar(svg *strings.Builder, class string, y int, width float64, took Seconds, what string) {
	fmt.Fprintf(svg, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"><title>%s: %s</title></rect>`, class, barsMargin, y, max(width, 1), barHeight, what, took)
	fmt.Fprintf(svg, `<text class="small" x="%.1f" y="%d">%s</text>`, barsMargin+max(width, 1)+4, y+barHeight-1, took)
}
