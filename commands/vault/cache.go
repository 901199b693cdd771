package vault

import (
	"container/list"
	"crypto/cipher"
	"sync"
	"time"
)

const (
	// cachedMax is how long an opened key is used without asking the store, and so how
	// long another process's erasure may go unnoticed, unless the vault is Uncached.
	cachedMax = 5 * time.Second
	// cachedKeys bounds memory: a key ready for use takes about a kilobyte.
	cachedKeys = 10_000
)

// cache keeps the keys used last, opened. A nil key is an erased owner's.
type cache struct {
	now   func() time.Time
	keeps bool // false: it forgets each key at once

	mu       sync.Mutex
	byOwner  map[string]*list.Element
	recent   *list.List // of *cachedKey, the one used last in front
	erasures uint64
}

type cachedKey struct {
	owner string
	key   cipher.AEAD
	until time.Time
}

func newCache() *cache {
	return &cache{now: time.Now, keeps: true, byOwner: map[string]*list.Element{}, recent: list.New()}
}

// get finds an owner's key, unless it was read too long ago.
func (c *cache) get(owner string) (key cipher.AEAD, cached bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.byOwner[owner]
	if !ok {
		return nil, false
	}
	k := at.Value.(*cachedKey)
	if !c.now().Before(k.until) {
		c.remove(at)
		return nil, false
	}
	c.recent.MoveToFront(at)
	return k.key, true
}

// erasuresSeen is to be asked before the store is read for put.
func (c *cache) erasuresSeen() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.erasures
}

// put keeps a key that was read after asOf. It does not if somebody was erased since:
// the key may be theirs.
func (c *cache) put(owner string, key cipher.AEAD, asOf uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.erasures == asOf {
		c.keep(owner, key)
	}
}

// erase forgets an owner's key; for sure, if the store has destroyed it.
func (c *cache) erase(owner string, destroyed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erasures++
	if at, ok := c.byOwner[owner]; ok {
		c.remove(at)
	}
	if destroyed {
		c.keep(owner, nil)
	}
}

func (c *cache) keep(owner string, key cipher.AEAD) {
	if !c.keeps {
		return
	}
	if at, ok := c.byOwner[owner]; ok {
		c.remove(at)
	}
	if c.recent.Len() >= cachedKeys {
		c.remove(c.recent.Back())
	}
	c.byOwner[owner] = c.recent.PushFront(&cachedKey{owner, key, c.now().Add(cachedMax)})
}

func (c *cache) remove(at *list.Element) {
	delete(c.byOwner, at.Value.(*cachedKey).owner)
	c.recent.Remove(at)
}
