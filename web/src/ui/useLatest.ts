import { useLayoutEffect, useRef } from 'react';
import type { RefObject } from 'react';

/** useLatest lets a function that stays the same read what was rendered last. */
export function useLatest<T>(value: T): RefObject<T> {
  const ref = useRef(value);
  useLayoutEffect(() => {
    ref.current = value;
  });
  return ref;
}
