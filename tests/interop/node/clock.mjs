// The time, which scenarios can move. It is imported before whatever asks for it.
const Real = Date;
let ahead = 0;

globalThis.Date = class Date extends Real {
  constructor(...when) {
    if (when.length === 0) super(Real.now() + ahead);
    else super(...when);
  }

  static now() {
    return Real.now() + ahead;
  }
};

export const advance = (seconds) => {
  ahead += 1000 * seconds;
};
