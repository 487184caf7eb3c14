import { type FormEvent, useEffect, useRef, useState } from "react";
import { labelSets } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { formatFilters, type LabelFilter, OPERATORS, type Operator, selectorOf, SERVICE_LABEL } from "../profile/selector";
import type { Range } from "../profile/time";
import { text } from "../text";
import { Combobox } from "./Combobox";

interface Props {
  service: string;
  filters: LabelFilter[];
  range: Range;
  onChange: (filters: LabelFilter[]) => void;
}

export function LabelFilters({ service, filters, range, onChange }: Props) {
  const [adding, setAdding] = useState(false);
  const add = useRef<HTMLButtonElement>(null);
  // What had the focus goes away; whoever uses the keyboard goes on from here.
  const wasAdding = useRef(false);
  useEffect(() => {
    if (wasAdding.current && !adding) add.current?.focus();
    wasAdding.current = adding;
  }, [adding]);
  return (
    <div className="filters" role="group" aria-label={text.explore.filters}>
      {filters.map((filter, i) => {
        const shown = visible(`${filter.name} ${filter.operator} ${filter.value}`);
        return (
          <span key={formatFilters([filter])} className="filter mono">
            {shown}
            <button
              type="button"
              aria-label={text.explore.removeFilter(shown)}
              onClick={() => {
                add.current?.focus();
                onChange(filters.filter((_, other) => other !== i));
              }}
            >
              ×
            </button>
          </span>
        );
      })}
      {adding ? (
        <NewFilter
          selector={selectorOf(service, filters)}
          range={range}
          onCancel={() => setAdding(false)}
          onAdd={(filter) => {
            setAdding(false);
            onChange([...filters, filter]);
          }}
        />
      ) : (
        <button ref={add} type="button" className="button quiet" onClick={() => setAdding(true)}>
          + {text.explore.addFilter}
        </button>
      )}
    </div>
  );
}

interface NewFilterProps {
  selector: string;
  range: Range;
  onAdd: (filter: LabelFilter) => void;
  onCancel: () => void;
}

function NewFilter({ selector, range, onAdd, onCancel }: NewFilterProps) {
  const [name, setName] = useState("");
  const [operator, setOperator] = useState<Operator>("=");
  const [value, setValue] = useState("");
  const sets = useQuery(`label-sets ${selector} ${range.from} ${range.until}`, (signal) => labelSets(selector, range, signal));
  const names = [...(sets.data?.keys() ?? [])].filter((each) => each !== SERVICE_LABEL);
  const values = sets.data?.get(name);
  const hints = new Map([...(values ?? [])].map(([each, series]) => [each, text.explore.seriesCount(series)]));
  const add = (chosen: string) => {
    if (name !== "" && chosen !== "") onAdd({ name, operator, value: chosen });
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    add(value);
  };
  return (
    <form className="new-filter" onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && onCancel()}>
      <Combobox
        label={text.explore.labelName}
        value={name}
        options={names}
        loading={sets.loading}
        nothing={text.explore.noLabels}
        autoFocus
        onChange={setName}
        onChoose={setName}
      />
      <select className="select" aria-label={text.explore.operator} value={operator} onChange={(event) => setOperator(event.target.value as Operator)}>
        {OPERATORS.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
      <Combobox
        label={text.explore.labelValue}
        value={value}
        options={[...(values?.keys() ?? [])]}
        hints={hints}
        loading={sets.loading}
        nothing={text.explore.noValues}
        onChange={setValue}
        onChoose={(chosen) => {
          setValue(chosen);
          add(chosen);
        }}
      />
      <button type="submit" className="button" disabled={name === "" || value === ""}>
        {text.explore.add}
      </button>
      <button type="button" className="button quiet" onClick={onCancel}>
        {text.explore.cancel}
      </button>
    </form>
  );
}
