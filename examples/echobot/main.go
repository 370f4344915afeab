// Command echobot answers every text with the same text, in conversations of MLS and in sessions of Proteus. It speaks JSON, so that any messenger's client
// can carry its messages: {KeyPackage, PreKey} out is what others need to reach it, first and after each {Welcome} in, by which it joins a conversation;
// {Protocol, Chat, Message} in or out is a message, where Chat is a conversation with the Protocol "mls", and a session with "proteus".
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/conclave-mls/conclave"
)

type line struct {
	KeyPackage, PreKey, Welcome, Message []byte `json:",omitempty"`
	Protocol, Chat                       string `json:",omitempty"`
}

func main() {
	key, err := hex.DecodeString(os.Getenv("ECHOBOT_KEY"))
	if err != nil || len(os.Args) != 2 {
		log.Fatal("usage: ECHOBOT_KEY=<64 hexadecimal digits> echobot <directory>")
	}
	engine, err := conclave.Open(context.Background(), os.Args[1], conclave.Options{Key: key})
	if err == nil {
		err = errors.Join(run(context.Background(), engine, os.Stdin, os.Stdout), engine.Close())
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, engine *conclave.Engine, in io.Reader, out io.Writer) error {
	lines, say := json.NewDecoder(in), json.NewEncoder(out).Encode
	bot, err := engine.Client(ctx, "echobot", conclave.ClientOptions{})
	if err != nil {
		return err
	}
	hello := func() error { // in no transaction: what others may use at once has to be durable
		_, errInit := bot.Proteus().Init(ctx)
		preKey, errPreKey := bot.Proteus().LastResortPreKey(ctx)
		unused, errKeyPackage := bot.ClientKeyPackages(ctx, 1, 1)
		if err := errors.Join(errInit, errPreKey, errKeyPackage); err != nil {
			return err
		}
		return say(line{KeyPackage: unused[0].KeyPackage, PreKey: preKey})
	}
	for err = hello(); err == nil && lines.More(); {
		var l line
		if err = lines.Decode(&l); err != nil {
			break
		}
		// An answer leaves before its text counts as read: what goes wrong between the two costs a second answer, and never the first.
		failed := bot.Transaction(ctx, func(tx *conclave.Tx) error {
			texts, seal, err := open(ctx, tx, l)
			for i := 0; i < len(texts) && err == nil; i++ {
				answer := line{Protocol: l.Protocol, Chat: l.Chat}
				if answer.Message, err = seal(texts[i]); err == nil {
					err = say(answer)
				}
			}
			return err
		})
		if failed == nil && l.Welcome != nil {
			failed = hello()
		}
		if failed != nil && !conclave.IsIgnorable(failed) {
			log.Print(failed) // the next line may do better
		}
	}
	return err
}

// open reads a Welcome, or a message of any protocol. It returns the texts in it, and what seals an answer for the same chat.
func open(ctx context.Context, tx *conclave.Tx, l line) (texts []conclave.Secret, seal func(text []byte) ([]byte, error), err error) {
	switch id, session := conclave.ConversationID(l.Chat), conclave.SessionID(l.Chat); {
	case l.Welcome != nil:
		_, err = tx.ProcessWelcome(ctx, l.Welcome, conclave.JoinOptions{})
		return nil, nil, err
	case l.Protocol == "mls":
		seal = func(text []byte) ([]byte, error) { return tx.EncryptMessage(ctx, id, text) }
		m, err := tx.DecryptMessage(ctx, id, l.Message)
		for _, m := range append([]conclave.Released{{Message: m}}, m.Released...) { // those that came before their epoch's commit
			if m.Err == nil && m.Message.Outcome == conclave.OutcomeText {
				texts = append(texts, m.Message.Plaintext)
			}
		}
		return texts, seal, err
	case l.Protocol == "proteus":
		seal = func(text []byte) ([]byte, error) { return tx.Proteus().Encrypt(ctx, session, text) }
		text, err := tx.Proteus().DecryptSafe(ctx, session, l.Message)
		return append(texts, text), seal, err
	}
	return nil, nil, fmt.Errorf("no such protocol: %q", l.Protocol)
}
