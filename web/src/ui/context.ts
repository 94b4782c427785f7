import { createContext, useContext } from 'react';
import { useStore } from 'zustand';
import type { Engine } from '../engine/engine';
import type { ChatState } from '../engine/state';

export const EngineContext = createContext<Engine | undefined>(undefined);

export function useEngine(): Engine {
  const engine = useContext(EngineContext);
  if (!engine) throw new Error('no engine around this component');
  return engine;
}

/** useChat gives a part of the state and renders again when that part is another one. */
export function useChat<T>(select: (state: ChatState) => T): T {
  return useStore(useEngine().store, select);
}
