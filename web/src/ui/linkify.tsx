// Links in message texts. A text is never HTML: it becomes text nodes, and elements for what looks like a link.

import { Fragment } from 'react';
import type { ReactNode } from 'react';

export interface TextPart {
  text: string;
  href?: string;
}

const candidate = /(?:https?:\/\/|mailto:)[^\s<>"']+/gi;
const trailing = /[.,;:!?)\]}]+$/;
const allowed = new Set(['http:', 'https:', 'mailto:']);

/** splitLinks divides a text into plain parts and links. Only http, https and mailto are links. */
export function splitLinks(text: string): TextPart[] {
  const parts: TextPart[] = [];
  let end = 0;
  for (const match of text.matchAll(candidate)) {
    const link = match[0].replace(trailing, '');
    if (!isAllowed(link)) continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    parts.push({ text: link, href: link });
    end = match.index + link.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

function isAllowed(link: string): boolean {
  try {
    return allowed.has(new URL(link).protocol);
  } catch {
    return false;
  }
}

export function linkify(text: string): ReactNode {
  return splitLinks(text).map((part, i) =>
    part.href === undefined ? (
      <Fragment key={i}>{part.text}</Fragment>
    ) : (
      <a key={i} href={part.href} target="_blank" rel="noopener noreferrer">
        {part.text}
      </a>
    ),
  );
}
