package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Book is what the service keeps.
type Book struct {
	ID     int64  `json:"id"`
	Title  string `json:"title"`
	Author string `json:"author,omitempty"`
}

var errNoBook = errors.New("no such book")

// store keeps books in Redis: one JSON document each, numbered by a counter.
type store struct {
	redis  *redis.Client
	prefix string
}

// openStore returns a store that connects when it is first used, so that the
// service may start before Redis does.
func openStore(addr, prefix string) *store {
	return &store{redis: redis.NewClient(&redis.Options{Addr: addr}), prefix: prefix}
}

func (s *store) Close() error { return s.redis.Close() }

// Ping returns an error when Redis does not answer.
func (s *store) Ping(ctx context.Context) error { return s.redis.Ping(ctx).Err() }

// Add keeps b under a new id, which it returns with it.
func (s *store) Add(ctx context.Context, b Book) (Book, error) {
	id, err := s.redis.Incr(ctx, s.counter()).Result()
	if err != nil {
		return Book{}, fmt.Errorf("number a book: %w", err)
	}
	b.ID = id
	doc, err := json.Marshal(b)
	if err != nil {
		return Book{}, err
	}
	if err := s.redis.Set(ctx, s.key(id), doc, 0).Err(); err != nil {
		return Book{}, fmt.Errorf("keep book %d: %w", id, err)
	}
	return b, nil
}

// Get returns a book, or errNoBook.
func (s *store) Get(ctx context.Context, id int64) (Book, error) {
	doc, err := s.redis.Get(ctx, s.key(id)).Result()
	if errors.Is(err, redis.Nil) {
		return Book{}, errNoBook
	}
	if err != nil {
		return Book{}, fmt.Errorf("get book %d: %w", id, err)
	}
	return decode(doc)
}

// Newest returns at most n books, the newest first.
func (s *store) Newest(ctx context.Context, n int64) ([]Book, error) {
	last, err := s.redis.Get(ctx, s.counter()).Int64()
	if errors.Is(err, redis.Nil) {
		return []Book{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("count the books: %w", err)
	}
	var keys []string
	for id := last; id > max(0, last-n); id-- {
		keys = append(keys, s.key(id))
	}
	docs, err := s.redis.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, fmt.Errorf("list books: %w", err)
	}
	books := []Book{}
	for _, doc := range docs {
		text, ok := doc.(string)
		if !ok {
			continue // numbered, and not kept yet
		}
		b, err := decode(text)
		if err != nil {
			return nil, err
		}
		books = append(books, b)
	}
	return books, nil
}

// sessionLife is how long a session is kept without a message.
const sessionLife = time.Hour

// Session returns the last message of a session, "" for a new one.
func (s *store) Session(ctx context.Context, name string) (string, error) {
	last, err := s.redis.Get(ctx, s.session(name)).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("get session %s: %w", name, err)
	}
	return last, nil
}

// Remember keeps the last message of a session.
func (s *store) Remember(ctx context.Context, name, message string) error {
	if err := s.redis.Set(ctx, s.session(name), message, sessionLife).Err(); err != nil {
		return fmt.Errorf("keep session %s: %w", name, err)
	}
	return nil
}

func (s *store) session(name string) string { return s.prefix + "session:" + name }

func (s *store) counter() string     { return s.prefix + "books" }
func (s *store) key(id int64) string { return s.prefix + "book:" + strconv.FormatInt(id, 10) }

func decode(doc string) (Book, error) {
	var b Book
	if err := json.Unmarshal([]byte(doc), &b); err != nil {
		return Book{}, fmt.Errorf("read book %q: %w", doc, err)
	}
	return b, nil
}
