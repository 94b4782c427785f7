// Icons, drawn on a 24-pixel grid with one stroke. All are decoration: what they mean stands in words beside them.

import type { ReactNode } from 'react';

function icon(children: ReactNode, viewBox = '0 0 24 24') {
  return function Icon() {
    return (
      <svg className="icon" viewBox={viewBox} aria-hidden="true" focusable="false">
        {children}
      </svg>
    );
  };
}

export const BackIcon = icon(<path d="M15 5l-7 7 7 7" />);
export const PlusIcon = icon(<path d="M12 5v14M5 12h14" />);
export const SendIcon = icon(<path d="M4.5 12h14M12.5 5.500L19 12l-6.5 6.5" />);
export const DownIcon = icon(<path d="M12 5v14M6 13l6 6 6-6" />);
export const CloseIcon = icon(<path d="M6 6l12 12M18 6L6 18" />);
export const MoreIcon = icon(<path d="M5 12h.01M12 12h.01M19 12h.01" strokeWidth="3" />);
export const SettingsIcon = icon(
  <>
    <path d="M4 7h9M19 7h1M4 17h1M11 17h9" />
    <circle cx="16" cy="7" r="2.5" />
    <circle cx="8" cy="17" r="2.5" />
  </>,
);
export const PinIcon = icon(<path d="M12 21s-6.5-6-6.5-11a6.5 6.5 0 0113 0c0 5-6.5 11-6.5 11zM12 12.500a2.5 2.5 0 100-5 2.5 2.5 0 000 5z" />);
export const GroupIcon = icon(
  <>
    <circle cx="9" cy="8.5" r="3.5" />
    <path d="M2.5 19.500c.6-3.600 3.200-5.500 6.500-5.500s5.900 1.900 6.500 5.500M16 5.300a3.500 3.500 0 010 6.400M18 14.600c1.900.8 3.100 2.500 3.500 4.900" />
  </>,
);
export const ReplyIcon = icon(<path d="M9.500 6L4 11.500 9.500 17M4.500 11.500H14c3.500 0 6 2.300 6 6.500" />);
export const EditIcon = icon(<path d="M4 20l1-4.500L16.500 4a2.100 2.100 0 013 3L8 18.500zM14.500 6l3.500 3.500" />);
export const TrashIcon = icon(<path d="M4.500 7h15M9.500 7V4.500h5V7M6.500 7l.8 12.500h9.400L17.500 7M10.500 11v5M13.500 11v5" />);
export const CopyIcon = icon(
  <>
    <rect x="9" y="9" width="10.500" height="10.500" rx="2" />
    <path d="M5.500 15V6.500a2 2 0 012-2H15" />
  </>,
);
export const SmileIcon = icon(
  <>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M8.300 14c.8 1.600 2.100 2.400 3.700 2.400s2.900-.8 3.700-2.400M9 9.500h.01M15 9.500h.01" />
  </>,
);
export const EyeIcon = icon(
  <>
    <path d="M1.500 8S4 3.500 8 3.500 14.500 8 14.500 8 12 12.500 8 12.500 1.500 8 1.500 8z" />
    <circle cx="8" cy="8" r="1.800" />
  </>,
  '0 0 16 16',
);
export const ClockIcon = icon(
  <>
    <circle cx="8" cy="8" r="5.5" />
    <path d="M8 5v3l2 1.5" />
  </>,
  '0 0 16 16',
);
export const CheckIcon = icon(<path d="M3 8.500l3.2 3.200L13 4.5" />, '0 0 16 16');
export const ShieldIcon = icon(
  <>
    <path d="M8 1.800l5 1.800v4c0 3.2-2.1 5.4-5 6.6-2.9-1.2-5-3.4-5-6.600v-4z" />
    <path d="M5.6 8l1.8 1.8 3.2-3.6" />
  </>,
  '0 0 16 16',
);
export const DoubleIcon = icon(<path d="M1.5 8.500l3.2 3.2 6.8-7.200M8.2 11.200l.5.5 6.8-7.2" />, '0 0 17 16');
export const AlertIcon = icon(
  <>
    <circle cx="8" cy="8" r="6" />
    <path d="M8 4.800v4M8 11.200h.01" />
  </>,
  '0 0 16 16',
);

/** Globe is the mark of the project: a sphere with its meridians. */
export function Globe({ className }: { className?: string }) {
  return (
    <svg className={className ?? 'globe'} viewBox="0 0 48 48" aria-hidden="true" focusable="false">
      <circle cx="24" cy="24" r="20" />
      <ellipse cx="24" cy="24" rx="8" ry="20" />
      <path d="M4 24h40M7.5 13.500h33M7.5 34.500h33M24 4v40" />
    </svg>
  );
}

/** World is the picture of the first page: the sphere, three regions on it, and the ways between them. */
export function World() {
  return (
    <svg className="world" viewBox="0 0 400 400" aria-hidden="true" focusable="false">
      <g className="world-lines">
        <circle cx="200" cy="200" r="190" />
        <ellipse cx="200" cy="200" rx="150" ry="190" />
        <ellipse cx="200" cy="200" rx="95" ry="190" />
        <ellipse cx="200" cy="200" rx="33" ry="190" />
        <path d="M10 200h380M26 124h348M26 276h348M80 52h240M80 348h240" />
      </g>
      <g className="world-ways">
        <path d="M96 150Q150 58 222 112M222 112Q300 92 318 206M96 150Q200 300 318 206" />
      </g>
      <g className="world-regions">
        <circle cx="96" cy="150" r="5" />
        <circle cx="222" cy="112" r="5" />
        <circle cx="318" cy="206" r="5" />
      </g>
      <g className="world-halos">
        <circle cx="96" cy="150" r="11" />
        <circle cx="222" cy="112" r="11" />
        <circle cx="318" cy="206" r="11" />
      </g>
    </svg>
  );
}
