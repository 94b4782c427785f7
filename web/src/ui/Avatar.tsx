const hues = 8;

interface Props {
  name: string;
  size?: 'tiny' | 'small' | 'medium' | 'large';
  /** A group has corners. */
  group?: boolean;
}

/** Avatar shows a person or a group by initials, in a colour that the name decides. */
export function Avatar({ name, size = 'medium', group = false }: Props) {
  return (
    <span className={`avatar avatar-${size} hue-${hueOf(name)}${group ? ' avatar-group' : ''}`} aria-hidden="true">
      {initialsOf(name)}
    </span>
  );
}

/** initialsOf gives one or two letters: of the first two words, where dots, dashes and underscores divide words too. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  const letters = words.slice(0, 2).map((word) => [...word][0] ?? '');
  return (letters.join('') || '?').toUpperCase();
}

function hueOf(name: string): number {
  let sum = 7;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)!) >>> 0;
  return sum % hues;
}
