package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	last := -1
	for _, n := range []int64{0, 1, 63, 64, 127, 128, 129, 255, 256, 1000, 1_000_000, 1_000_000_000, 1<<histogramLimit - 1} {
		i := bucketOf(n)
		if i < last || i >= histogramBuckets {
			t.Errorf("%d ns falls into bucket %d of %d, the one before into %d", n, i, histogramBuckets, last)
		}
		last = i
		if h := highest(i); h < n || float64(h-n) > float64(n)/64 {
			t.Errorf("%d ns falls into the bucket that ends with %d ns", n, h)
		}
	}
	for i := range histogramBuckets {
		if got := bucketOf(highest(i)); got != i {
			t.Fatalf("the end of bucket %d falls into bucket %d", i, got)
		}
		if got := bucketOf(highest(i) + 1); i+1 < histogramBuckets && got != i+1 {
			t.Fatalf("what follows bucket %d falls into bucket %d", i, got)
		}
	}
	if bucketOf(math.MaxInt64) != histogramBuckets-1 || bucketOf(-1) != 0 {
		t.Error("a duration out of range does not fall into the first or last bucket")
	}
}

func TestQuantiles(t *testing.T) {
	var none histogram
	if none.quantile(0.5) != 0 || none.quantile(1) != 0 || none.mean() != 0 || none.count() != 0 {
		t.Error("an empty histogram has a quantile")
	}
	var one histogram
	one.record(1234567)
	for _, q := range []float64{0, 0.5, 0.999, 1} {
		if got := one.quantile(q); got != 1234567 {
			t.Errorf("the only duration is 1234567 ns and quantile %v is %d", q, got)
		}
	}

	// Small durations have buckets of their own, so quantiles are exact: nearest rank.
	var ten histogram
	for n := range 10 {
		ten.record(time.Duration(n + 1))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.1: 1, 0.11: 2, 0.5: 5, 0.9: 9, 0.99: 10, 1: 10} {
		if got := ten.quantile(q); got != want {
			t.Errorf("of 1 to 10 quantile %v is %d, want %d", q, got, want)
		}
	}
	if ten.mean() != 5 {
		t.Errorf("of 1 to 10 the mean is %d", ten.mean())
	}

	random := rand.New(rand.NewPCG(1, 2))
	var many histogram
	all := make([]time.Duration, 10_001)
	for i := range all {
		all[i] = time.Duration(math.Exp(random.Float64() * 20))
		many.record(all[i])
	}
	slices.Sort(all)
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		exact := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := many.quantile(q); got < exact || float64(got) > float64(exact)*(1+1.0/64)+1 {
			t.Errorf("quantile %v is %d, by sorting %d", q, got, exact)
		}
	}
	if many.quantile(1) != all[len(all)-1] {
		t.Error("quantile 1 is not the longest")
	}
}
