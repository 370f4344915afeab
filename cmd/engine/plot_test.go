package main

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 0.5: "0.5", 0.12345: "0.123", 0.0001234: "0.00012", 9.876: "9.88", 12.34: "12.3", 999.4: "999", 1234: "1234", 9999: "9999",
		9999.9: "10k", 12345: "12.3k", 999_999: "1M", 1_000_000: "1M", 2_500_000_000: "2.5G", -12: "-12", 5e12: "5T", 5e16: "50000T",
	} {
		if got := short(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct {
		low, high float64
		want      []float64
	}{
		{0, 10, []float64{0, 2, 4, 6, 8, 10}},
		{0, 1, []float64{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1}},
		{0, 3300, []float64{0, 1000, 2000, 3000}},
		{-1, 1, []float64{-1, -0.5, 0, 0.5, 1}},
	} {
		if got := linearTicks(tt.low, tt.high); !slices.Equal(got, tt.want) || math.Signbit(got[slices.Index(got, 0)]) {
			t.Errorf("from %v to %v: %v, want %v", tt.low, tt.high, got, tt.want)
		}
	}
	for _, tt := range []struct {
		low, high float64
		want      []float64
	}{
		{1, 10, []float64{1, 2, 5, 10}},
		{0.5, 30, []float64{0.5, 1, 2, 5, 10, 20}},
		{1, 1e6, []float64{1, 10, 100, 1000, 1e4, 1e5, 1e6}},
		{1, 1e20, []float64{1, 1e20}},
	} {
		got := logTicks(tt.low, tt.high)
		if len(got) != len(tt.want) {
			t.Errorf("logarithmic from %v to %v: %v, want %v", tt.low, tt.high, got, tt.want)
			continue
		}
		for i, v := range got {
			if math.Abs(v-tt.want[i]) > 1e-9*v {
				t.Errorf("logarithmic from %v to %v: %v, want %v", tt.low, tt.high, got, tt.want)
			}
		}
	}
}

// TestScale looks at what cannot span an axis by itself.
func TestScale(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, tt := range []struct {
		name      string
		values    []float64
		log, zero bool
		ok        bool
		low, high float64
	}{
		{"nothing", nil, false, false, false, 0, 0},
		{"nothing finite", []float64{nan, inf, -inf}, false, true, false, 0, 0},
		{"nothing positive on a logarithmic axis", []float64{0, -3}, true, false, false, 0, 0},
		{"one value", []float64{7}, false, false, true, 6, 8},
		{"one value, from zero", []float64{7}, false, true, true, 0, 7},
		{"one value, logarithmic", []float64{8}, true, false, true, 4, 16},
		{"equal values", []float64{3, 3, 3}, false, false, true, 2, 4},
		{"all zero", []float64{0, 0}, false, true, true, 0, 1},
		{"negative, from zero", []float64{-2, 4}, false, true, true, -2, 4},
		{"some not finite", []float64{nan, 1, inf, 5}, false, false, true, 1, 5},
	} {
		s, ok := newScale(tt.values, tt.log, tt.zero, 100, 300)
		if ok != tt.ok || ok && (s.low != tt.low || s.high != tt.high) {
			t.Errorf("%s: %v from %v to %v, want %v from %v to %v", tt.name, ok, s.low, s.high, tt.ok, tt.low, tt.high)
			continue
		}
		if ok && (s.at(s.low) != 100 || math.Abs(s.at(s.high)-300) > 1e-9) {
			t.Errorf("%s: its ends lie at %v and %v, want 100 and 300", tt.name, s.at(s.low), s.at(s.high))
		}
	}
	if s, _ := newScale([]float64{1, 100}, true, false, 0, 10); math.Abs(s.at(10)-5) > 1e-9 {
		t.Errorf("the middle of a logarithmic axis lies at %v", s.at(10))
	}
}

// TestDraw wants everything inside the area, whatever the points are.
func TestDraw(t *testing.T) {
	nan := math.NaN()
	for name, points := range map[string][]xy{
		"none":         nil,
		"one":          {{1, 5}},
		"equal":        {{1, 5}, {1, 5}},
		"equal height": {{1, 5}, {2, 5}, {4, 5}},
		"all zero":     {{1, 0}, {2, 0}},
		"a gap":        {{1, 5}, {2, 6}, {3, nan}, {4, 7}, {5, 1e9}},
		"gaps only":    {{1, nan}, {2, math.Inf(1)}},
	} {
		for _, logarithmic := range []bool{false, true} {
			d := plot{Title: name, LogX: logarithmic, LogY: logarithmic, Series: []series{{Name: "a", Points: points}, {Name: "b"}}}.draw()
			empty := name == "none" || name == "gaps only" || name == "all zero" && logarithmic
			if d.Empty != empty {
				t.Errorf("%s (logarithmic %t): empty %t, want %t", name, logarithmic, d.Empty, empty)
			}
			if d.Empty {
				continue
			}
			if len(d.XTicks) == 0 || len(d.YTicks) == 0 || len(d.XTicks) > plotMaxTicks+1 || len(d.YTicks) > plotMaxTicks+1 {
				t.Errorf("%s (logarithmic %t): %d and %d ticks", name, logarithmic, len(d.XTicks), len(d.YTicks))
			}
			shown := 0
			for _, p := range points {
				if !math.IsNaN(p.Y) {
					shown++
				}
			}
			if got := len(d.Lines[0].Dots); got != shown || len(d.Lines[1].Pieces) != 0 {
				t.Errorf("%s (logarithmic %t): %d dots, want %d", name, logarithmic, got, shown)
			}
			for _, at := range d.Lines[0].Dots {
				if !(at.X >= plotLeft && at.X <= plotRight && at.Y >= plotTop && at.Y <= plotBottom) {
					t.Errorf("%s (logarithmic %t): a point lies at %v, %v", name, logarithmic, at.X, at.Y)
				}
			}
			if strings.Contains(strings.Join(d.Lines[0].Pieces, " "), "NaN") || name == "a gap" && len(d.Lines[0].Pieces) != 2 {
				t.Errorf("%s (logarithmic %t): %q", name, logarithmic, d.Lines[0].Pieces)
			}
		}
	}
}
