/** Careful reading of the DICOM JSON model (PS3.18 annex F): every access checks what it finds. */

interface Element {
  readonly vr?: unknown;
  readonly Value?: unknown;
  readonly InlineBinary?: unknown;
  readonly BulkDataURI?: unknown;
}

/** Where the bytes of a binary attribute are. */
export type Binary =
  | { readonly kind: 'inline'; readonly base64: string }
  | { readonly kind: 'uri'; readonly uri: string };

/** Read-only view of one data set or sequence item. Tags are eight hex digits, upper case. */
export class Dataset {
  constructor(private readonly json: Readonly<Record<string, unknown>>) {}

  static of(value: unknown): Dataset {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return new Dataset(isObject ? (value as Record<string, unknown>) : {});
  }

  private element(tag: string): Element {
    const found = this.json[tag];
    return typeof found === 'object' && found !== null ? (found as Element) : {};
  }

  private values(tag: string): readonly unknown[] {
    const { Value } = this.element(tag);
    return Array.isArray(Value) ? Value : [];
  }

  has(tag: string): boolean {
    return tag in this.json;
  }

  /** Text values in order; numbers become text, empty values stay as "" to keep the places. */
  strings(tag: string): string[] {
    return this.values(tag).map((value) =>
      typeof value === 'string' ? value.trim() : typeof value === 'number' ? String(value) : '',
    );
  }

  string(tag: string): string | null {
    return this.strings(tag)[0] || null;
  }

  /** Finite numbers in order, or null when one of the values is not a number. */
  numbers(tag: string): number[] | null {
    const raw = this.values(tag);
    const numbers = raw.map((value) =>
      typeof value === 'number' ? value : typeof value === 'string' && value.trim() ? Number(value) : NaN,
    );
    return numbers.length > 0 && numbers.every(Number.isFinite) ? numbers : null;
  }

  number(tag: string): number | null {
    const first = this.values(tag)[0];
    const value = typeof first === 'string' && first.trim() ? Number(first) : first;
    return typeof value === 'number' && Number.isFinite(value) ? value : null;
  }

  /** Person name in the encoded form "alphabetic=ideographic=phonetic". */
  name(tag: string): string {
    const first = this.values(tag)[0];
    if (typeof first === 'string') return first;
    if (typeof first !== 'object' || first === null) return '';
    const groups = first as Record<string, unknown>;
    return [groups['Alphabetic'], groups['Ideographic'], groups['Phonetic']]
      .map((group) => (typeof group === 'string' ? group : ''))
      .join('=')
      .replace(/=+$/, '');
  }

  items(tag: string): Dataset[] {
    return this.values(tag).map((item) => Dataset.of(item));
  }

  item(tag: string): Dataset | null {
    return this.items(tag)[0] ?? null;
  }

  binary(tag: string): Binary | null {
    const { InlineBinary, BulkDataURI } = this.element(tag);
    if (typeof InlineBinary === 'string') return { kind: 'inline', base64: InlineBinary };
    return typeof BulkDataURI === 'string' ? { kind: 'uri', uri: BulkDataURI } : null;
  }
}
