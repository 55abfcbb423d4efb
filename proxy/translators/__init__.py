"""Translation of a transcript into English by a chat model: a transcript goes in, a transcript comes out."""
