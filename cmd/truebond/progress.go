package main

import (
	"context"
	"fmt"
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"truebond/cmd/truebond/wording"
)

// showProgress shows how far something is, in events, as suits a terminal or a file: a view that is
// built, or a step of a restore.
func showProgress(ctx context.Context, out io.Writer) (show func(what string, done, total uint64), end func()) {
	if isTerminal(out) {
		return progressBars(ctx, out)
	}
	return progressLines(out)
}

// progressLines prints a line for every tenth that is done.
func progressLines(out io.Writer) (show func(what string, done, total uint64), end func()) {
	tenths := map[string]uint64{}
	show = func(what string, done, total uint64) {
		tenth := uint64(10)
		if done < total {
			tenth = done * 10 / total
		}
		if shown, begun := tenths[what]; !begun || tenth > shown {
			tenths[what] = tenth
			fmt.Fprintf(out, "%s: %d of %s\n", wording.OneLine(what), done, wording.Events(total))
		}
	}
	return show, func() {}
}

// progressBars draws a bar for each.
func progressBars(ctx context.Context, out io.Writer) (show func(what string, done, total uint64), end func()) {
	progress := mpb.NewWithContext(ctx, mpb.WithOutput(out))
	bars := map[string]*mpb.Bar{}
	show = func(what string, done, total uint64) {
		bar, begun := bars[what]
		if !begun {
			bar = progress.AddBar(int64(total),
				mpb.PrependDecorators(decor.Name(wording.OneLine(what), decor.WCSyncSpaceR)),
				mpb.AppendDecorators(
					decor.Any(func(s decor.Statistics) string {
						return fmt.Sprintf("%d of %s  ", s.Current, wording.Events(s.Total))
					}),
					decor.AverageETA(decor.ET_STYLE_GO),
				))
			bars[what] = bar
		}
		bar.SetTotal(int64(total), false) // the log grows meanwhile
		bar.SetCurrent(int64(done))
		if done >= total {
			bar.SetTotal(int64(total), true)
		}
	}
	end = func() {
		for _, bar := range bars {
			bar.Abort(false) // without effect on one that is complete
		}
		progress.Wait()
	}
	return show, end
}
