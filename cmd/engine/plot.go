package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A plot is drawn as SVG by the report's template. Points whose value is not finite, or not positive on a logarithmic axis, leave a gap.
type plot struct {
	Title          string
	XLabel, YLabel string // with units
	LogX, LogY     bool
	Series         []series
}

type series struct {
	Name   string
	Points []xy
	Dashed bool // for what is a reference and was not measured
}

type xy struct{ X, Y float64 }

// The drawing's size and the edges of its area, in units of its view box.
const (
	plotWidth, plotHeight  = 640.0, 360.0
	plotLeft, plotRight    = 72.0, 620.0
	plotTop, plotBottom    = 20.0, 300.0
	plotMaxTicks           = 9
	plotRoomAboveHighest   = 1.08
	plotWidenSinglePointBy = 2.0
)

// drawing is a plot turned into positions.
type drawing struct {
	plot
	Width, Height            float64
	Left, Right, Top, Bottom float64
	XTicks, YTicks           []tick
	Lines                    []line
	Empty                    bool
}

type tick struct {
	At    float64
	Label string
}

type line struct {
	Name   string
	Class  string   // chooses the colour
	Pieces []string // points attributes of polylines, one for each stretch without a gap
	Dots   []dot
	Dashed bool
	Legend float64 // where its name stands, from the left
}

type dot struct {
	X, Y  float64
	Label string
}

// scale maps an interval of values to an interval of positions.
type scale struct {
	low, high float64 // values; low < high
	from, to  float64 // positions
	log       bool
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		low, high, v = math.Log(low), math.Log(high), math.Log(v)
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// shows tells whether a value has a place on the axis.
func (s scale) shows(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!s.log || v > 0)
}

// newScale covers all values that can be shown; equal ones, or a single one, get room on both sides. A linear axis begins at 0 if zero asks for it and nothing is
// negative.
func newScale(values []float64, log, zero bool, from, to float64) (s scale, ok bool) {
	s = scale{low: math.Inf(1), high: math.Inf(-1), from: from, to: to, log: log}
	for _, v := range values {
		if s.shows(v) {
			s.low, s.high = min(s.low, v), max(s.high, v)
		}
	}
	if s.low > s.high {
		return s, false
	}
	switch {
	case log && s.low == s.high:
		s.low, s.high = s.low/plotWidenSinglePointBy, s.high*plotWidenSinglePointBy
	case log:
	case zero && s.low >= 0:
		s.low = 0
		if s.high == 0 {
			s.high = 1
		}
	case s.low == s.high:
		s.low, s.high = s.low-1, s.high+1
	}
	return s, true
}

// linearTicks returns round values from low to high, a step of 1, 2 or 5 times a power of ten apart.
func linearTicks(low, high float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*f) <= 6 {
			step *= f
			break
		}
	}
	var out []float64
	for i := math.Ceil(low/step - 1e-9); i*step <= high*(1+1e-9); i++ {
		out = append(out, i*step+0) // the sum is no negative zero
	}
	return out
}

// logTicks returns 1, 2 and 5 times powers of ten from low to high, or powers of ten alone where that would be too many.
func logTicks(low, high float64) []float64 {
	for _, factors := range [][]float64{{1, 2, 5}, {1}} {
		var out []float64
		for e := math.Floor(math.Log10(low)); e <= math.Log10(high); e++ {
			for _, f := range factors {
				if v := f * math.Pow(10, e); v >= low*(1-1e-9) && v <= high*(1+1e-9) {
					out = append(out, v)
				}
			}
		}
		if len(out) <= plotMaxTicks {
			return out
		}
	}
	return []float64{low, high}
}

// draw places everything.
func (p plot) draw() drawing {
	d := drawing{plot: p, Width: plotWidth, Height: plotHeight, Left: plotLeft, Right: plotRight, Top: plotTop, Bottom: plotBottom}
	var xs, ys []float64
	for _, s := range p.Series {
		for _, q := range s.Points {
			xs, ys = append(xs, q.X), append(ys, q.Y)
		}
	}
	x, okX := newScale(xs, p.LogX, false, plotLeft, plotRight)
	y, okY := newScale(ys, p.LogY, true, plotBottom, plotTop)
	if !okX || !okY {
		d.Empty = true
		return d
	}
	y.high *= plotRoomAboveHighest
	yTicks := linearTicks(y.low, y.high)
	if p.LogY {
		y.low /= plotRoomAboveHighest
		yTicks = logTicks(y.low, y.high)
	}
	for _, v := range yTicks {
		d.YTicks = append(d.YTicks, tick{round(y.at(v)), short(v)})
	}
	for _, v := range p.xTicks(x, xs) {
		d.XTicks = append(d.XTicks, tick{round(x.at(v)), short(v)})
	}
	legend := plotLeft
	for i, s := range p.Series {
		l := line{Name: s.Name, Class: fmt.Sprintf("s%d", i), Dashed: s.Dashed, Legend: legend}
		legend += 34 + 7*float64(len(s.Name))
		l.trace(s.Points, x, y)
		d.Lines = append(d.Lines, l)
	}
	return d
}

// xTicks are the points' own values on a logarithmic axis, where they are few, since a sweep has no others.
func (p plot) xTicks(x scale, xs []float64) []float64 {
	if !p.LogX {
		return linearTicks(x.low, x.high)
	}
	own := slices.DeleteFunc(slices.Clone(xs), func(v float64) bool { return !x.shows(v) })
	slices.Sort(own)
	if own = slices.Compact(own); len(own) <= plotMaxTicks {
		return own
	}
	return logTicks(x.low, x.high)
}

// trace turns points into polylines, and into dots where they are few.
func (l *line) trace(points []xy, x, y scale) {
	const few = 40
	var piece []string
	end := func() {
		if len(piece) > 0 {
			l.Pieces = append(l.Pieces, strings.Join(piece, " "))
		}
		piece = nil
	}
	for _, q := range points {
		if !x.shows(q.X) || !y.shows(q.Y) {
			end()
			continue
		}
		at := dot{round(x.at(q.X)), round(y.at(q.Y)), fmt.Sprintf("%s: %s at %s", l.Name, short(q.Y), short(q.X))}
		piece = append(piece, fmt.Sprintf("%g,%g", at.X, at.Y))
		if len(points) <= few && !l.Dashed {
			l.Dots = append(l.Dots, at)
		}
	}
	end()
}

// round keeps tenths of a unit: finer than any screen.
func round(v float64) float64 { return math.Round(v*10) / 10 }

// short writes a number with three digits or four, in thousands, millions and so on from 10,000 up.
func short(v float64) string {
	suffix := ""
	if math.Abs(v) >= 9999.5 {
		for _, s := range []string{"k", "M", "G", "T"} {
			if v, suffix = v/1000, s; math.Abs(v) < 999.5 {
				break
			}
		}
	}
	switch a := math.Abs(v); {
	case a != 0 && a < 0.001:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case a < 1:
		v = math.Round(v*1000) / 1000
	case a < 10:
		v = math.Round(v*100) / 100
	case a < 100:
		v = math.Round(v*10) / 10
	default:
		v = math.Round(v)
	}
	return strconv.FormatFloat(v, 'f', -1, 64) + suffix
}
