import { useLayoutEffect, useRef, useState } from 'react';
import type { KeyboardEvent, ReactNode } from 'react';
import { CopyIcon, EditIcon, PlusIcon, ReplyIcon, TrashIcon } from './icons';
import type { Item } from './items';

const quick = ['👍', '❤️', '😂', '😮', '😢', '🙏'];
const more = [
  '👎', '🎉', '🔥', '👏', '👀', '✅', '💯', '🚀', '😀', '😅', '😊', '😍', '😎', '🤔', '😴', '😡', '😱', '🥳', '🤝', '💪', '🙌', '👋',
  '☕', '🍕', '🌍', '⭐', '💡', '❓', '❗',
];
const edge_px = 8;

interface Props {
  item: Item;
  /** The message on the screen that the menu belongs to. */
  anchor: HTMLElement;
  onReact: (emoji: string, on: boolean) => void;
  onReply: () => void;
  onEdit: () => void;
  onDelete: () => void;
  onClose: () => void;
}

/**
 * MessageMenu offers what can be done with a message. Arrows walk through it, Escape and a click elsewhere close it. On a
 * narrow screen it is a sheet at the bottom.
 */
export function MessageMenu({ item, anchor, onReact, onReply, onEdit, onDelete, onClose }: Props) {
  const ref = useRef<HTMLDivElement>(null);
  const [all, setAll] = useState(false);
  const mine = new Set(item.reactions.filter((chip) => chip.mine).map(({ emoji }) => emoji));
  useLayoutEffect(() => {
    const menu = ref.current;
    if (!menu) return;
    if (!menu.matches(':popover-open')) {
      menu.showPopover();
      menu.querySelector<HTMLElement>('[role^=menuitem]')?.focus();
    }
    // Only what is shown has a size.
    place(menu, anchor, item.mine);
    const toggled = (event: Event) => (event as ToggleEvent).newState === 'closed' && onClose();
    menu.addEventListener('toggle', toggled);
    return () => menu.removeEventListener('toggle', toggled);
  }, [onClose, anchor, item.mine]);
  useLayoutEffect(() => {
    if (all && ref.current) place(ref.current, anchor, item.mine);
  }, [anchor, item.mine, all]);

  function keys(event: KeyboardEvent) {
    const items = [...ref.current!.querySelectorAll<HTMLElement>('[role^=menuitem]')];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const steps: Record<string, number> = {
      ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1,
    };
    if (event.key === 'Tab' || event.key === 'Escape') {
      // At once, for the browser tells only later that it closed the menu.
      event.preventDefault();
      return onClose();
    }
    const to = steps[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    items[(to + items.length) % items.length]?.focus();
  }
  const act = (work: () => void) => () => {
    onClose();
    work();
  };
  return (
    <div ref={ref} popover="auto" role="menu" aria-label={`Message of ${item.author}`} className="menu" data-testid="message-menu" onKeyDown={keys}>
      <div className={all ? 'menu-emojis menu-emojis-all' : 'menu-emojis'} role="group" aria-label="React">
        {(all ? [...quick, ...more] : quick).map((emoji) => (
          <button
            key={emoji}
            type="button"
            role="menuitemcheckbox"
            aria-checked={mine.has(emoji)}
            className="menu-emoji"
            data-testid="menu-emoji"
            data-emoji={emoji}
            onClick={act(() => onReact(emoji, !mine.has(emoji)))}
          >
            {emoji}
          </button>
        ))}
        {!all && (
          <button type="button" role="menuitem" className="menu-emoji" aria-label="More reactions" data-testid="menu-more" onClick={() => setAll(true)}>
            <PlusIcon />
          </button>
        )}
      </div>
      <Entry id="reply" icon={<ReplyIcon />} label="Reply" onClick={act(onReply)} />
      {navigator.clipboard && <Entry id="copy" icon={<CopyIcon />} label="Copy text" onClick={act(() => void navigator.clipboard.writeText(item.text))} />}
      {item.may.edit && <Entry id="edit" icon={<EditIcon />} label="Edit" onClick={act(onEdit)} />}
      {item.may.delete && <Entry id="delete" icon={<TrashIcon />} label="Delete for everybody" danger onClick={act(onDelete)} />}
    </div>
  );
}

function Entry({ id, icon, label, danger = false, onClick }: { id: string; icon: ReactNode; label: string; danger?: boolean; onClick: () => void }) {
  return (
    <button type="button" role="menuitem" className={danger ? 'menu-entry row-danger' : 'menu-entry'} data-testid={`menu-${id}`} onClick={onClick}>
      {icon}
      {label}
    </button>
  );
}

/** place puts the menu beside its message and inside the window. The style sheet places it on narrow screens. */
function place(menu: HTMLElement, anchor: HTMLElement, atEnd: boolean): void {
  if (matchMedia('(max-width: 720px)').matches) return;
  const bubble = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = bubble.bottom + 4;
  const top = below + height <= innerHeight - edge_px ? below : bubble.top - height - 4;
  const left = atEnd ? bubble.right - width : bubble.left;
  menu.style.top = `${Math.max(edge_px, Math.min(top, innerHeight - height - edge_px))}px`;
  menu.style.left = `${Math.max(edge_px, Math.min(left, innerWidth - width - edge_px))}px`;
}
