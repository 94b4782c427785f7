import type { Virtualizer } from '@tanstack/react-virtual';
import { useCallback, useState } from 'react';
import { useEngine } from './context';
import type { Item } from './items';
import { useLatest } from './useLatest';

/** Pages of the past that are fetched at most to find a quoted message. */
const jumpPages = 40;
/** How long the message stands out that somebody was led to, in milliseconds. */
const found_ms = 1_800;

/** useJump leads to a message, fetching the past until it is there, and lets it stand out for a moment. */
export function useJump(virtualizer: Virtualizer<HTMLDivElement, Element>, conversation_id: string, items: Item[]) {
  const engine = useEngine();
  const [found, setFound] = useState<string>();
  const latest = useLatest(items);
  const jump = useCallback(
    async (message_id: string) => {
      for (let page = 0; page < jumpPages; page++) {
        const index = latest.current.findIndex(({ id }) => id === message_id);
        if (index >= 0) {
          virtualizer.scrollToIndex(index, { align: 'center' });
          setFound(latest.current[index]!.key);
          setTimeout(() => setFound(undefined), found_ms);
          return;
        }
        if (!(await engine.older(conversation_id).catch(() => false))) return;
        await new Promise(requestAnimationFrame); // the page is in the list by then
      }
    },
    [virtualizer, conversation_id, engine, latest],
  );
  return { found, jump: useCallback((message_id: string) => void jump(message_id), [jump]) };
}
