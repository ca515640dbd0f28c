// A line drawn through the cables, and what cutting them means. Pure: points and names in, steps out.

const side = (a, b, p) => (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x);

/** Whether two segments cross. */
function crosses(a, b, c, d) {
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}

/**
 * What a line from `a` to `b` cuts. `places`: [{name, x, y}], every two of which a cable joins.
 *
 * Returns {pairs, steps, words}: the cables that are cut, the steps that cut them, and what that means. A line that
 * separates hosts is one partition. One that passes some of the cables cuts these, in both directions, if they
 * are all cables between the hosts at its two sides; else it counts as if it went on.
 */
export function cutBy(a, b, places) {
  const pairs = [];
  places.forEach((one, index) => {
    for (const other of places.slice(index + 1)) if (crosses(a, b, one, other)) pairs.push([one, other]);
  });
  if (!pairs.length) return { pairs: [], steps: [], words: "no cable is under that line" };
  const groups = apart(places, pairs);
  if (groups.length > 1) return separated(groups, pairs);
  const left = new Set(), right = new Set();
  for (const pair of pairs) for (const each of pair) (side(a, b, each) > 0 ? left : right).add(each);
  if (pairs.length === left.size * right.size) {
    const [from, to] = [names([...left]), names([...right])];
    return {
      pairs, words: `${from.join(", ")} from ${to.join(", ")}; others still reach both`,
      steps: bothWays(from, to),
    };
  }
  const halves = [places.filter((each) => side(a, b, each) > 0), places.filter((each) => side(a, b, each) <= 0)];
  return separated(halves, halves[0].flatMap((one) => halves[1].map((other) => [one, other])));
}

/** The steps that cut all cables between hosts, and leave them joined by others. */
export const bothWays = (from, to) => [{ partition: { one_way: { from, to } } }, { partition: { one_way: { from: to, to: from } } }];

function separated(groups, pairs) {
  const named = groups.map(names);
  return { pairs, words: named.map((group) => group.join(", ")).join(" | "), steps: [{ partition: { groups: named } }] };
}

const names = (places) => places.map((each) => each.name);

/** Groups of what is still joined, without these pairs. */
function apart(places, pairs) {
  const cut = new Map(places.map((each) => [each, new Set()]));
  for (const [one, other] of pairs) {
    cut.get(one).add(other);
    cut.get(other).add(one);
  }
  const left = new Set(places), groups = [];
  while (left.size) {
    const group = [[...left][0]];
    left.delete(group[0]);
    for (const one of group)
      for (const other of [...left])
        if (!cut.get(one).has(other)) {
          left.delete(other);
          group.push(other);
        }
    groups.push(places.filter((each) => group.includes(each)));
  }
  return groups;
}
