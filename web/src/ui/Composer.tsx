import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { FormEvent, KeyboardEvent } from 'react';
import type { ConversationRow } from '../protocol/types';
import { useChat, useEngine } from './context';
import { SendIcon } from './icons';

const draftKey = (id: string) => `meridian.draft:${id}`;

/** Composer writes a message. Enter sends, Shift+Enter breaks the line; the draft survives a reload of the tab. */
export function Composer({ conversation }: { conversation: ConversationRow }) {
  const engine = useEngine();
  const { id, peer, state } = conversation;
  const typing = useChat((chat) => chat.typing[id] !== undefined);
  const [text, setText] = useState(() => sessionStorage.getItem(draftKey(id)) ?? '');
  const area = useRef<HTMLTextAreaElement>(null);
  const blocked = state === 'blocked';

  useEffect(() => {
    if (matchMedia('(pointer: fine)').matches) area.current?.focus();
  }, []);
  useEffect(() => {
    if (text === '') sessionStorage.removeItem(draftKey(id));
    else sessionStorage.setItem(draftKey(id), text);
  }, [id, text]);
  useLayoutEffect(() => {
    // The field grows with its text, up to the limit in the style sheet.
    const element = area.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  function submit(event?: FormEvent) {
    event?.preventDefault();
    if (text.trim() === '' || blocked) return;
    engine.send(id, text);
    setText('');
    area.current?.focus();
  }

  function keys(event: KeyboardEvent) {
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  }

  return (
    <div className="composer-area">
      <p className="typing-line" aria-live="polite">
        {typing && (
          <span data-testid="typing">
            <span className="typing-dots" aria-hidden="true">
              <i />
              <i />
              <i />
            </span>
            {peer.username} is typing
          </span>
        )}
      </p>
      <form className="composer" onSubmit={submit}>
        <textarea
          ref={area}
          data-testid="composer"
          aria-label={`Message to ${peer.username}`}
          placeholder={blocked ? `You blocked ${peer.username}` : `Message ${peer.username}`}
          rows={1}
          dir="auto"
          value={text}
          disabled={blocked}
          onKeyDown={keys}
          onChange={(event) => {
            setText(event.target.value);
            if (event.target.value !== '') engine.typing(id);
          }}
        />
        <button type="submit" className="send-button" data-testid="send" aria-label="Send" disabled={blocked || text.trim() === ''}>
          <SendIcon />
        </button>
      </form>
    </div>
  );
}
