/**
 * An option that is a number above 0, or undefined. With anything else, such
 * as NaN, a limit would be none.
 *
 * @param {object} options
 * @param {string} name
 * @returns {number | undefined}
 */
export function positive(options, name) {
  const value = options[name];
  if (value !== undefined && !(typeof value === "number" && value > 0)) {
    throw new TypeError(`${name} must be a number above 0`);
  }
  return value;
}
