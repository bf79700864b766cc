/** A listing of the API, read page by page. */

import { page, query } from "./api.js";

const ORDER = new Intl.Collator("en", { numeric: true });
const PAGE = 50; // records that are shown at first, and with each step more

/** Reads a listing; `changed` is called whenever there is more to show. */
export class Pager {
  /**
   * @param {string} target of the listing, as "/cs"
   * @param {(record: object) => string} idOf
   * @param {() => void} changed
   */
  constructor(target, idOf, changed) {
    this.target = target;
    this.idOf = idOf;
    this.changed = changed;
    this.found = new Map(); // by id: a record may be on two pages
    this.isOld = false; // what was found before stays until the first answer: nothing flickers
    this.next = null;
    this.problem = null;
    this.loading = false;
  }

  /** What was found, in the order of the ids: Redis has none. */
  get records() {
    return [...this.found.entries()].sort(([one], [other]) => ORDER.compare(one, other)).map(([, record]) => record);
  }

  /** Whether there may be records that are not read yet. */
  get isMore() {
    return this.next !== null;
  }

  /** Leave what is under way. */
  stop() {
    this.aborts?.abort();
    this.aborts = null;
    this.loading = false;
  }

  /**
   * Begin anew.
   * @param {object} filters parameters of the listing
   * @param {number} [most] records that are read before it stops
   */
  start(filters, most = PAGE) {
    this.isOld = true;
    this.next = this.target + query({ ...filters, limit: Math.min(most, 100) });
    return this.more(most);
  }

  /** Read on until there are so many more. */
  async more(most = PAGE) {
    this.stop();
    const aborts = (this.aborts = new AbortController());
    const wanted = (this.isOld ? 0 : this.found.size) + most;
    this.loading = true;
    this.problem = null;
    this.changed();
    try {
      while (this.next !== null && (this.isOld || this.found.size < wanted)) {
        const { records, next } = await page(this.next, aborts.signal);
        this.next = next;
        this.put(records);
      }
    } catch (error) {
      if (aborts.signal.aborted) return;
      this.problem = error.status === 410 ? `${error.message} Press Search.` : error.message;
      if (error.status === 410) this.next = null;
      if (this.isOld) this.put([]);
    }
    if (this.aborts !== aborts) return;
    this.loading = false;
    this.changed();
  }

  /** Add records, or put them in the place of those that have the same id. */
  put(records) {
    if (this.isOld) this.found = new Map();
    this.isOld = false;
    for (const record of records) this.found.set(this.idOf(record), record);
    this.changed();
  }

  /** Take a record out. */
  drop(id) {
    this.found.delete(id);
    this.changed();
  }
}
