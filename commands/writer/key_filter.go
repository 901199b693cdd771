package writer

import (
	"context"
	"hash/maphash"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"truebond/ledger"
)

// A keyFilter tells of most keys that were never used that they were not, without a
// look into the store. Of a key that was used it never says that. It is a Bloom filter
// in blocks: all that a key sets is in one line of the processor's cache (Putze, Sanders,
// Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007).
type keyFilter struct {
	seed   maphash.Seed
	blocks []filterBlock // see outsideHeap
	room   uint64        // keys that it was made for; with more, it is less often sure
	held   uint64        // keys that were added as they were used; read and written by the writer's loop
}

// A filterBlock has one bit of each word set for a key.
type filterBlock [8]uint64

const (
	bitsPerKey     = 12 // of 200 keys that were never used, it is unsure about one
	filterKeysMin  = 1 << 20
	filterBytesMax = 256 << 20 // for 170 million keys; beyond, more questions go to the store
)

func newKeyFilter(keys uint64) *keyFilter {
	count := min(keys*bitsPerKey/8, filterBytesMax)/uint64(unsafe.Sizeof(filterBlock{})) + 1
	f := &keyFilter{seed: maphash.MakeSeed(), room: keys}
	f.blocks = outsideHeap(f, int(count)) // #nosec G115 -- filterBytesMax bounds it
	return f
}

// outsideHeap gives a filter its blocks, until nothing refers to it any more. In Go's heap they
// would have the collector leave several times their size in garbage.
func outsideHeap(f *keyFilter, count int) []filterBlock {
	size := count * int(unsafe.Sizeof(filterBlock{}))
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]filterBlock, count)
	}
	runtime.AddCleanup(f, func(memory []byte) { _ = syscall.Munmap(memory) }, memory)
	return unsafe.Slice((*filterBlock)(unsafe.Pointer(&memory[0])), count) // #nosec G103 -- it is a page's beginning
}

// place is the block of a key, and what chooses its bits.
func (f *keyFilter) place(key string) (*filterBlock, uint64) {
	hash := maphash.String(f.seed, key)
	block := hash >> 32 * uint64(len(f.blocks)) >> 32
	return &f.blocks[block], hash * 0x9e3779b97f4a7c15 // 2^64 / golden ratio: other bits than the block's
}

// add notes that a key was used. It may run in several goroutines.
func (f *keyFilter) add(key string) {
	block, bits := f.place(key)
	for i := range block {
		atomic.OrUint64(&block[i], 1<<(bits>>(6*i)&63))
	}
	runtime.KeepAlive(f)
}

// never tells whether a key was never used for certain.
func (f *keyFilter) never(key string) bool {
	defer runtime.KeepAlive(f)
	block, bits := f.place(key)
	for i := range block {
		if atomic.LoadUint64(&block[i])&(1<<(bits>>(6*i)&63)) == 0 {
			return true
		}
	}
	return false
}

// knownKeys are filters of the keys that were used. The first, and a larger one when the
// last has become too small, is filled from the store while commands go on.
type knownKeys struct {
	now  *keyFilter // nil until the first is complete
	next *keyFilter // being filled; nil if none is
}

// add notes a key that is being used.
func (k *knownKeys) add(key string) {
	for _, f := range []*keyFilter{k.now, k.next} {
		if f != nil {
			f.add(key)
			f.held++
		}
	}
}

func (k *knownKeys) never(key string) bool { return k.now != nil && k.now.never(key) }

// beginFilter begins to fill a filter, unless the one at hand has room or another is being
// filled. It has all keys that are stored, those in memory, and those that come.
func (w *Writer) beginFilter(ctx context.Context) {
	known := &w.memory.known
	if known.next != nil || known.now != nil && known.now.held < known.now.room {
		return
	}
	used := w.last.Load() // an event has a key
	filter := newKeyFilter(filterKeysMin + used + used/4)
	filter.held = used
	known.next = filter
	for ref := range w.memory.docs {
		if ref.Fold == ledger.Keys.Name {
			filter.add(ref.Key)
		}
	}
	go func() {
		if w.fill(ctx, filter) {
			select {
			case w.filled <- filter:
			case <-w.stopped:
			}
		}
	}()
}

// takeFilter takes a filter that is complete, unless the documents were read again since it was begun.
func (l *loop) takeFilter(f *keyFilter) {
	if known := &l.memory.known; f == known.next {
		known.now, known.next = f, nil
		l.warm.Store(true)
	}
}

// fill adds the keys that are stored, which may take a minute for ten million: half of the time it
// rests, so that the store is there for others. It is false when ctx has ended.
func (w *Writer) fill(ctx context.Context, filter *keyFilter) bool {
	const pageMax = 1000
	for after := ""; ; {
		begun := time.Now()
		keys, err := w.stored.Keys(ctx, ledger.Keys.Name, after, pageMax)
		rest := time.Since(begun)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			w.logger.WarnContext(ctx, "the keys that were used cannot be read; trying again", "error", err)
			rest = w.pause
		}
		for _, key := range keys {
			filter.add(key)
			after = key
		}
		if err == nil && len(keys) < pageMax {
			return true
		}
		if pause(ctx, rest) != nil {
			return false
		}
	}
}
